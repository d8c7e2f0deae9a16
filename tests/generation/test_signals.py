"""Signals: what is asked about an answer, the number it becomes, and its cost, by an engine with known beliefs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Source
from emocaliber.core.prompting import load_template
from emocaliber.core.samples import Sample
from emocaliber.generation.engine import STOP, Request, Response
from emocaliber.generation.readouts import rows_of
from emocaliber.generation.respond import choices_of
from emocaliber.generation.signals import DEGREES, DRAWS, SignalsEngine
from emocaliber.runs.prediction_settings import PredictSettings, check_settings

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
