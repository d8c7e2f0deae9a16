"""inspect_ai runs our scorer and metrics, and its logs are scored as they are written: both say the same."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ContentReasoning, ContentText, ModelOutput, ModelUsage, get_model
from inspect_ai.solver import multiple_choice

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, State
from emocaliber.evaluation import Scorecard
from emocaliber.integrations.inspect_ai import stated_confidence
from emocaliber.reading.foreign_outputs import is_table, read_lines
from emocaliber.runs.scoring import score_files
from tests.integrations.answers import LABELS, fifty

pytestmark = pytest.mark.slow
STATED = "<answer>{}</answer><confidence>{}</confidence>"


def run(folder: Path, samples: list[Sample], responses: list[Any], stops: dict[int, Any] | None = None, **named: Any):
    """The log of a task whose model answers these, and the file that it was written to."""
    outputs = [
        ModelOutput.from_content("mockllm/model", response, stop_reason=(stops or {}).get(place, "stop"))
        for place, response in enumerate(responses)
    ]
    for output in outputs:
        output.usage = ModelUsage()  # else the mock counts tokens, with a tokenizer that it downloads
    model = get_model("mockllm/model", custom_outputs=outputs, memoize=False)
    labels, log_format = named.pop("labels", None), named.pop("log_format", "eval")
    task = Task(dataset=MemoryDataset(samples), scorer=stated_confidence(labels), name="emotions", **named)
    [log] = eval(task, model=model, log_dir=str(folder), display="none", max_samples=1, log_format=log_format)
    return log, Path(log.location)


def values(log: EvalLog) -> dict[str, float]:
    assert log.status == "success", log.error
    assert log.results is not None
    [scores] = log.results.scores
    return {name.rpartition("/")[2]: metric.value for name, metric in scores.metrics.items()}


def card_of(path: Path, **named: Any) -> Scorecard:
    return score_files([path], replicates=50, **named)


@pytest.mark.parametrize("log_format", ["eval", "json"])
def test_fifty_rows_score_alike_in_inspect_ai_and_from_its_log(tmp_path: Path, log_format: str):
    responses, truths = fifty()
    samples = [
        Sample(input="?", target=truth, id=n, metadata={"candidates": LABELS, "votes": {truth: 3}})
        for n, truth in enumerate(truths)
    ]
    log, path = run(tmp_path, samples, responses, log_format=log_format)
    found, card = values(log), card_of(path)
    assert not is_table(path)
    assert card.methods[0].name == "mockllm/model"
    for name, metric in (("accuracy", "accuracy"), ("ece", "ece"), ("brier", "brier"), ("auroc", "auroc")):
        assert found[name] == pytest.approx(float(card[metric])), name
    scores = card.methods[0].find("all")
    assert found["unreadable"] == pytest.approx(1 - scores.n_answered / scores.n)
    assert 0 < found["unreadable"] < 0.5


def test_what_a_log_can_hold_is_read(tmp_path: Path):
    parts = [ContentReasoning(reasoning="fear? no"), ContentText(text=STATED.format("awe", 0.7))]
    samples = [Sample(input="?", target=truth, id=f"s{n}") for n, truth in enumerate(["joy", "awe", "fear"])]
    responses = ["<think>" + "long " * 5000 + "</think>" + STATED.format("joy", 0.9), parts, "<answer>fe"]
    _, path = run(tmp_path, samples, responses, {2: "max_tokens"}, labels=["joy", "awe", "fear"])
    rows = list(read_lines(path, labels=("joy", "awe", "fear")))
    assert [(row.id, row.predicted, row.confidence, row.state) for row in rows] == [
        ("s0", "joy", 0.9, State.OK),
        ("s1", "awe", 0.7, State.OK),
        ("s2", None, None, State.TRUNCATED),
    ]


def test_letters_of_choices_are_answers_and_targets(tmp_path: Path):
    samples = [Sample(input="?", target=letter, choices=["joy", "awe", "fear"], id=n) for n, letter in enumerate("ABC")]
    responses = ["ANSWER: A\nConfidence: 80%", STATED.format("B", 0.6), STATED.format("A", 0.9)]
    log, path = run(tmp_path, samples, responses, solver=multiple_choice())
    rows = list(read_lines(path))
    assert [(row.truth, row.predicted, row.confidence) for row in rows] == [
        ("joy", "joy", 0.8),
        ("awe", "awe", 0.6),
        ("fear", "joy", 0.9),
    ]
    assert values(log)["brier"] == pytest.approx((0.04 + 0.16 + 0.81) / 3)


@pytest.mark.filterwarnings("ignore")
def test_choices_that_a_solver_shuffles_are_refused_by_scorer_and_reader(tmp_path: Path):
    samples = [Sample(input="?", target="A", choices=["joy", "awe", "fear"], id="a")]
    solver = multiple_choice(shuffle=Random(1))
    log, path = run(tmp_path, samples, ["ANSWER: A\nConfidence: 80%"], solver=solver)
    assert log.error is not None
    assert "shuffle when the dataset is read" in log.error.message
    changed = json.loads(log.model_dump_json()) | {"status": "success"}
    path.with_suffix(".json").write_text(json.dumps(changed, indent=2))
    with pytest.raises(UserError, match="shuffle when the dataset is read"):
        list(read_lines(path.with_suffix(".json")))


def test_epochs_are_rows_of_one_cluster_and_metrics_see_every_answer(tmp_path: Path):
    responses = [STATED.format("joy", 0.9), STATED.format("awe", 0.5)]
    log, path = run(tmp_path, [Sample(input="?", target="joy", id="a")], responses, epochs=2, labels=["joy", "awe"])
    rows: list[Prediction] = list(read_lines(path, labels=("joy", "awe")))
    assert [(row.id, row.cluster) for row in rows] == [("a", "a"), ("a/epoch 2", "a")]
    assert values(log)["brier"] == pytest.approx((0.01 + 0.25) / 2)


def test_a_log_that_cannot_be_scored_says_why(tmp_path: Path):
    log, path = run(tmp_path, [Sample(input="?", target="joy", id="a")], ["joy"], labels=["awe", "fear"])
    assert log.status == "error"
    with pytest.raises(UserError, match=r"did not finish \(status 'error'.* eval-retry"):
        list(read_lines(path))
    assert log.error is not None
    assert "true label 'joy' is not among" in log.error.message
    broken = tmp_path / "broken.eval"
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("header.json", "{")
    with pytest.raises(UserError, match="cannot be read"):
        list(read_lines(broken))
