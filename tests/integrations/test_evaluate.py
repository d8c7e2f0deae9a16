"""Hugging Face evaluate loads our metric from its file, without a hub, and computes the scorecard's values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emocaliber.evaluation import score
from emocaliber.integrations import EVALUATE_METRIC
from emocaliber.integrations.answers import METRICS
from emocaliber.reading import read_response
from tests.integrations.answers import LABELS, fifty

pytestmark = pytest.mark.slow  # evaluate imports transformers


@pytest.fixture(scope="module")
def metric(tmp_path_factory: pytest.TempPathFactory):
    import evaluate

    folder = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("evaluate.config.HF_MODULES_CACHE", str(folder / "modules"))
        yield evaluate.load(EVALUATE_METRIC, cache_dir=str(folder))


def test_responses_are_read_and_judged_as_in_the_scorecard(metric: Any):
    responses, truths = fifty()
    readings = [read_response(text, LABELS) for text in responses]
    card = score(
        [reading.confidence or 0.0 for reading in readings],
        truth=truths,
        predicted=[reading.label for reading in readings],
        labels=LABELS,
        answered=[reading.label is not None and reading.confidence is not None for reading in readings],
        replicates=50,
    )
    found = metric.compute(predictions=responses, references=truths, labels="mikels-8")
    assert set(found) == set(METRICS)
    for name in ("accuracy", "ece", "brier", "auroc"):
        assert found[name] == pytest.approx(float(card[name])), name


def test_confidences_are_judged_as_numbers(metric: Any):
    found = metric.compute(predictions=[0.8, 0.4], references=[1, 0])
    assert found["brier"] == pytest.approx((0.2**2 + 0.4**2) / 2)
    assert found["unreadable"] == 0


def test_responses_without_labels_are_refused(metric: Any):
    with pytest.raises(Exception, match="labels to choose from"):
        metric.compute(predictions=["joy"], references=["joy"])
    assert Path(EVALUATE_METRIC).is_file()
