"""Stage 2 from a map of several signals: what a signal knows is stated, raters come first, and the label stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, Source, State
from emocaliber.core.samples import Sample
from emocaliber.stages import verbalize as stage
from emocaliber.stages.examples import TrainingExample
from emocaliber.stages.recipe import Recipe, load_recipe
from emocaliber.stages.supervised import trainer_keys
from emocaliber.stages.targets import signal_beliefs

RECIPE = Path(__file__).parents[2] / "recipes" / "tiny" / "2-verbalize.yaml"
LABELS = ("joy", "fear", "awe")


def sample(number: int, split: str) -> Sample:
    label = None if split == "unlabelled" else ("joy" if number % 2 else "fear")
    return Sample(str(number), b"", "t", LABELS, label, split, "", str(number))


def row(of: Sample) -> Prediction:
    """Always joy at .6, whatever is true; the signal knows."""
    known = 0.9 if int(of.id) % 2 else 0.1
    return Prediction(of.id, "t", "", of.cluster, of.label, "joy", 0.6, State.OK, Source.LOGPROB, "teacher",
                      distribution={"joy": 0.6, "fear": 0.3, "awe": 0.1}, probability=0.6, signals={"p-true": known}
                      )  # fmt: skip


class Asked:
    def predictions(self, samples: Sequence[Sample], signals: Sequence[str]) -> list[Prediction]:
        assert signals == ("p-true",)
        return [row(one) for one in samples]


@contextmanager
def teacher(*_: object) -> Iterator[Any]:
    yield Asked()


def recipe(*changes: str) -> Recipe:
    return load_recipe(RECIPE, trainer_keys(), ["data=[kaomoji]", "target=signals", "signals=[p-true]", *changes])


def test_the_confidence_is_what_the_signals_know_where_the_label_probability_knows_nothing() -> None:
    samples = [sample(n, "unlabelled") for n in (1, 2)]
    believed = signal_beliefs(samples, [row(s) for s in samples], [row(sample(n, "calibrate")) for n in range(200)])
    assert believed.confidences[0] > 0.9
    assert believed.confidences[1] < 0.1
    for stated, confidence in zip(believed.stated, believed.confidences, strict=True):
        assert stated[0] == pytest.approx(confidence)
        assert stated.sum() == pytest.approx(1)
    assert [int(belief.argmax()) for belief in believed.beliefs] == [0, 0]


def test_rows_with_votes_state_the_raters_share_and_the_others_the_map(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    learned: list[TrainingExample] = []
    monkeypatch.setattr(stage, "train_supervised", lambda recipe, examples, *_, **__: learned.extend(examples))
    rated = replace(sample(3, "unlabelled"), votes={"awe": 3, "joy": 1})
    rows = [rated, sample(1, "unlabelled"), *(sample(n, "calibrate") for n in range(200))]
    result = stage.verbalize(recipe(), rows, None, tmp_path, teacher)
    texts = {example.sample.id: example.completion for example in learned}
    assert result["examples"] == len(texts) == 2
    assert texts["3"] == "<answer>awe</answer><confidence>0.75</confidence>"
    assert texts["1"] in [f"<answer>joy</answer><confidence>{level}</confidence>" for level in ("0.90", "0.95", "1.00")]


def test_calibration_rows_without_a_label_cannot_teach_a_map() -> None:
    samples = [sample(1, "unlabelled")]
    with pytest.raises(UserError, match="no calibration row has a label"):
        signal_beliefs(samples, [row(samples[0])], [row(sample(n, "unlabelled")) for n in range(3)])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["signals=[along]"], "'along' is not one of blinded"),
        (["target=own-probability"], "target own-probability asks for none"),
        (["stage=label", "template=label", "signals=[blinded]"], "stage label learns the labels"),
    ],
)
def test_signals_that_cannot_be_asked_are_refused_by_the_recipe(changes: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        recipe(*changes)


def test_levels_are_spread_around_the_mapped_confidence() -> None:
    samples = [sample(1, "unlabelled")]
    calibration = [row(sample(n, "calibrate")) for n in range(200)]
    believed = signal_beliefs(samples, [row(samples[0])], calibration)
    [example] = stage.belief_examples(recipe(), samples, believed)
    levels = np.arange(21) / 20
    assert example.level_target is not None
    assert float(levels @ np.array(example.level_target)) == pytest.approx(believed.confidences[0], abs=0.05)
