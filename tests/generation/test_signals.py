"""Signals: what is asked about an answer, the number it becomes, and its cost, by an engine with known beliefs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from peft import PeftModel
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from emocaliber.cli.main import main
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Source, read_predictions
from emocaliber.core.prompting import load_template
from emocaliber.core.samples import Sample
from emocaliber.generation.engine import STOP, Request, Response
from emocaliber.generation.readouts import rows_of
from emocaliber.generation.respond import choices_of
from emocaliber.generation.signals import DEGREES, DRAWS, SignalsEngine
from emocaliber.models.location import TINY_ADAPTER, embedded_base
from emocaliber.runs.prediction_settings import PredictSettings, check_settings
from tests.generation.conftest import VLLM_ON_CPU
from tests.generation.test_engines_agree import server as vllm_server
from tests.generation.wrong_server import WrongServer, serving

LABELS = ("joy", "fear", "awe")
SURE = {"joy": 0.7, "fear": 0.2, "awe": 0.1}
TEMPLATE = load_template("label-confidence")


class Known:
    """Believes SURE of a picture with anything on it, knows nothing of a black one; names the likeliest option."""

    name, concurrency, requests_per_call = "known", 1, 8

    def __init__(self, *, reports: bool = True) -> None:
        self.asked: list[Request] = []
        self._reports = reports

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        self.asked += requests
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Response:
        options = request.choices[0].options
        shares = np.array([self._belief(request, option) for option in options])
        shares /= shares.sum()
        logs = (tuple(np.log(shares).tolist()),) if self._reports else (None,)
        label = options[int(shares.argmax())]
        if request.temperature and request.draw > 6:
            label = "fear"
        text = f"<answer>{label}</answer>" + ("<confidence>0.80</confidence>" if len(request.choices) > 1 else "")
        return Response(request.sample_id, text, STOP, 5, (*logs, *((None,) * (len(request.choices) - 1))))

    def _belief(self, request: Request, option: str) -> float:
        blind = not np.asarray(request.image).any()
        if option in DEGREES:
            width, height = request.image.size
            return 0.6 if (option in ("90", "270")) == (height > width) else 0.2
        if option in ("yes", "no"):
            about = next(label for label in LABELS if f": {label}" in request.prompt)
            return SURE[about] if option == "yes" else 1 - SURE[about]
        return 1.0 if blind else SURE[option]


def question() -> Request:
    picture = Image.new("RGB", (8, 4), "white")
    return Request("1", picture, TEMPLATE.render(LABELS), choices_of(TEMPLATE, LABELS), candidates=LABELS)


def signals(*names: str, reports: bool = True) -> tuple[Response, Known]:
    engine = Known(reports=reports)
    [answer] = SignalsEngine(engine, names, TEMPLATE).generate([question()])
    return answer, engine


@pytest.mark.parametrize(
    ("name", "value", "questions"),
    [
        ("blinded", 0.7 - 1 / 3, 1),
        ("p-true", 0.7, 1),
        ("per-candidate", 0.7, 3),
        ("pairwise", 0.7, 2),
        ("agreement", 6 / DRAWS, DRAWS),
        ("turned", 0.375, 4),
    ],
)
def test_each_signal_is_the_number_its_definition_says_and_its_questions_are_counted(
    name: str, value: float, questions: int
):
    answer, engine = signals(name)
    assert answer.signals[name] == pytest.approx(value)
    assert answer.questions == 1 + questions == len(engine.asked)
    assert answer.tokens == 5 * (1 + questions)
    assert answer.text == "<answer>joy</answer><confidence>0.80</confidence>"


def test_without_probabilities_what_is_written_counts():
    answer, _ = signals("p-true", "blinded", "agreement", reports=False)
    assert answer.signals["p-true"] == 1.0
    assert answer.signals["blinded"] == pytest.approx(0.0)
    assert answer.signals["weighted"] == pytest.approx(6 / DRAWS)


def test_an_answer_without_a_label_and_later_draws_are_not_asked_about():
    class Silent(Known):
        def _answer(self, request: Request) -> Response:
            return replace(super()._answer(request), text="…")

    engine = SignalsEngine(Silent(), ["p-true"], TEMPLATE)
    [silent] = engine.generate([question()])
    assert not silent.signals
    drawn = SignalsEngine(Known(), ["p-true"], TEMPLATE)
    assert not drawn.generate([replace(question(), draw=1)])[0].signals


def test_rows_hold_signals_of_their_own_label_alone_with_what_was_stated_and_what_it_cost():
    answer, _ = signals("p-true")
    sample = Sample(b"", "1", "t", LABELS, label="joy", split="test", group="", cluster="1")
    rows = rows_of(sample, answer, TEMPLATE, method="m")
    for source in (Source.VERBALIZED, Source.LOGPROB):
        assert rows[source].signals == {"p-true": pytest.approx(0.7), "stated": 0.8}
        assert (rows[source].questions, rows[source].tokens) == (2, 10)
    other = replace(answer, choices=(tuple(np.log([0.1, 0.8, 0.1]).tolist()), None))
    assert rows_of(sample, other, TEMPLATE, method="m")[Source.LOGPROB].signals is None


def test_the_hidden_state_is_taken_after_the_label():
    seen: list[str] = []

    def states(requests: Sequence[Request], texts: Sequence[str]) -> np.ndarray:
        seen.extend(texts)
        return np.array([[1.5, -2.0]])

    [answer] = SignalsEngine(Known(), ["hidden"], TEMPLATE, states=states).generate([question()])
    assert seen == ["<answer>joy</answer>"]
    assert np.frombuffer(answer.hidden, "<f2").tolist() == [1.5, -2.0]


def test_along_asks_before_within_and_after_the_reasoning():
    template, starts = load_template("reasoning"), list[str]()

    class Thinking(Known):
        def _answer(self, request: Request) -> Response:
            return replace(super()._answer(request), text="<think>abcd</think><answer>joy</answer>")

    def score(requests: Sequence[Request], texts: Sequence[str], options: Sequence[str], until: str) -> np.ndarray:
        starts.extend(texts)
        return np.log([[0.4, 0.3, 0.3], [0.5, 0.3, 0.2], [0.9, 0.05, 0.05]])

    asked = replace(question(), choices=choices_of(template, LABELS))
    [answer] = SignalsEngine(Thinking(), ["along"], template, score=score).generate([asked])
    assert starts == [f"<think>{text}</think><answer>" for text in ("", "ab", "abcd")]
    assert answer.signals == {"along": pytest.approx(0.6), "along-rise": pytest.approx(0.5)}
    assert answer.questions == 1 + len(starts)


def server_answers(question: str) -> str:
    """As a server without probabilities: cute, at .80, by whatever is asked."""
    if "you chose: " in question or "best: cute?" in question:
        return "<answer>yes</answer>"
    if "best: " in question:
        return "<answer>no</answer>"
    return "<answer>90</answer>" if "degrees" in question else "<answer>cute</answer><confidence>0.80</confidence>"


ASKED = ["--signals", "blinded,p-true,per-candidate,agreement,turned", "--method", "m"]


def test_a_server_is_asked_for_signals_by_the_same_command(tmp_path: Path) -> None:
    server = WrongServer(lambda: "400", answers=server_answers)
    with serving(server) as url:
        options = ["--limit", "3", "--url", url, "--model", "tuned", *ASKED, "--out", str(tmp_path / "rows.jsonl")]
        assert main(["predict", "kaomoji", *options]) == 0
    rows = list(read_predictions(tmp_path / "rows.jsonl"))
    said = {"p-true": 1.0, "per-candidate": 1.0, "agreement": 1.0, "weighted": 1.0, "turned": 0.25, "stated": 0.8}
    assert [row.signals for row in rows] == [pytest.approx(said | {"blinded": 0.0})] * 3
    assert {row.questions for row in rows} == {25} == {len(server.bodies) // 3}
    drawn = [body for body in server.bodies if body["temperature"] == 1.0]
    assert len({body["seed"] for body in drawn}) == len(drawn) == 3 * DRAWS
    assert not any("seed" in body for body in server.bodies if body not in drawn)


def test_a_row_of_which_a_further_question_failed_is_asked_again_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No number is made of a question that the server did not answer."""
    refused = ["is this choice right"]

    def answers(question: str) -> str | None:
        return None if any(words in question.lower() for words in refused) else server_answers(question)

    server = WrongServer(lambda: "400", answers=answers)
    with serving(server) as url:
        options = ["kaomoji", "--limit", "2", "--url", url, "--model", "tuned", *ASKED, "--out", str(tmp_path / "out")]
        assert main(["predict", *options]) == 2
        assert "the question for the signal p-true: status 400" in capsys.readouterr().err
        refused.clear()
        assert main(["predict", *options]) == 0
    rows = list(read_predictions(tmp_path / "out" / "predictions.jsonl"))
    assert [row.signals["p-true"] for row in rows if row.signals] == [1.0, 1.0]


@pytest.mark.slow
@pytest.mark.usefixtures("vllm_installed")
def test_vllm_and_its_server_give_the_signals_that_transformers_gives(tmp_path: Path) -> None:
    """Of merged weights: on a CPU vLLM applies an adapter slowly. Float32 sums differ in their last bits; draws are of
    each engine's own generator."""
    base = AutoModelForImageTextToText.from_pretrained(embedded_base(), dtype="float32")
    PeftModel.from_pretrained(base, str(TINY_ADAPTER)).merge_and_unload().save_pretrained(tmp_path / "merged")
    AutoProcessor.from_pretrained(embedded_base()).save_pretrained(tmp_path / "merged")
    names = "blinded,p-true,per-candidate,agreement,turned,relative"
    common = ["--limit", "4", "--max-new-tokens", "12", "--signals", names, "--method", "m"]
    merged = str(tmp_path / "merged")
    own_process = ["--model", merged, "--dtype", "float32", "--template", "label-confidence", *common]
    plain = signals_by(tmp_path / "h", *own_process)
    served = signals_by(tmp_path / "v", *own_process, "--engine", "vllm", "--max-model-len", "512")
    # vLLM 0.32 fails on a CPU where it divides the prompt of a draw that has a seed
    with vllm_server(tmp_path / "merged", None, tmp_path / "log", "--no-enable-chunked-prefill") as url:
        asked = ["--model", "base", "--url", url, "--tokenizer", merged, "--template", "label-confidence", *common]
        remote = signals_by(tmp_path / "s", *asked)
    for name in ("blinded", "stated"):  # all that a server reports: options of one token
        assert remote[name] == pytest.approx(plain[name], abs=1e-3), name
    for name in ("blinded", "p-true", "per-candidate", "turned", "relative", "stated"):
        assert served[name] == pytest.approx(plain[name], abs=1e-3), name
    assert set(map(np.isfinite, remote["relative"])) == {True}, "of what is written: options of several tokens"
    for own in (served, remote):
        shares = [round(DRAWS * share) for share in own["agreement"]]
        assert own["agreement"] == pytest.approx([share / DRAWS for share in shares])
        assert np.mean(own["agreement"]) == pytest.approx(np.mean(plain["agreement"]), abs=0.3)


def signals_by(out: Path, *options: str) -> dict[str, list[float]]:
    """Each signal of every row, by the command, in a process of its own."""
    command = [sys.executable, "-m", "emocaliber", "predict", "kaomoji", "--out", str(out), *options]
    done = subprocess.run(command, env={**os.environ, **VLLM_ON_CPU}, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [row.signals or {} for row in read_predictions(out / "predictions.jsonl")]
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"signals": ("blindd",)}, "did you mean 'blinded'"),
        ({"signals": ("hidden",), "engine": "vllm"}, "vllm gives no hidden states"),
        ({"signals": ("along",), "url": ("http://h",)}, "a server scores no given text"),
        ({"signals": ("along",)}, "label-confidence has no reasoning"),
    ],
)
def test_what_an_engine_or_a_prompt_cannot_give_is_said_before_a_model_is_loaded(
    settings: dict[str, object], sentence: str, tmp_path: Path
):
    with pytest.raises(UserError, match=sentence):
        check_settings(PredictSettings(("x",), model="tiny", **settings), TEMPLATE)  # type: ignore[arg-type]
