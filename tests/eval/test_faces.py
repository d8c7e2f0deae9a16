"""Schematic faces: what is said of the truth is the truth, to what sampling can tell, in and out of distribution."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, Source, State
from emocaliber.data.leaks import check_disjoint
from emocaliber.data.parquet import read_samples
from eval.worlds.faces import LABELS, SHIFTS, World, faces, main
from eval.worlds.faces_drawing import FEATURES, PARTS, Look, draw_face
from eval.worlds.faces_truth import FaceTruth, read_truths, regret, truth_path


def pixels(look: Look) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(draw_face(look, np.random.default_rng(0)))))


@pytest.mark.parametrize("world", [*SHIFTS.values(), World(deviation=0.2), World(deviation=2.0)])
@pytest.mark.parametrize("covered", [None, "upper", "lower"])
def test_the_posterior_is_calibrated_against_the_labels_that_faces_were_drawn_from(world: World, covered: None):
    random = np.random.default_rng(3)
    n = 20_000
    drawn = random.choice(len(LABELS), size=n, p=world.shares)
    posterior = world.posterior(world.draw_features(drawn, random), covered)
    assert posterior.sum(axis=1) == pytest.approx(np.ones(n))
    best = posterior.max(axis=1)
    right = posterior.argmax(axis=1) == drawn
    for low in np.arange(0.1, 1.0, 0.1):
        block = (best >= low) & (best < low + 0.1)
        if block.sum() > 300:
            error = (right[block].mean() - best[block].mean()) / np.sqrt(0.25 / block.sum())
            assert abs(error) < 4


def test_covering_a_part_never_helps_on_average():
    world, random = World(), np.random.default_rng(0)
    features = world.draw_features(random.integers(0, 6, 5000), random)
    seen, upper, lower = (world.posterior(features, part).max(1).mean() for part in (None, "upper", "lower"))
    assert min(seen - upper, seen - lower) > 0.05


@pytest.mark.parametrize("style", ["round", "angular"])
@pytest.mark.parametrize("covered", ["upper", "lower"])
def test_a_cover_hides_its_features_to_the_last_pixel_and_no_other(style: str, covered: str):
    base = [0.0] * 5
    for i, name in enumerate(FEATURES):
        pictures = []
        for value in (-1.0, 1.0):
            for rest in (-1.0, 1.0):
                features = [rest if FEATURES[k] in PARTS[covered] else base[k] for k in range(5)]  # type: ignore[index]
                features[i] = value
                pictures.append(pixels(Look(tuple(features), covered, style)))  # type: ignore[arg-type]
        same = all((picture == pictures[0]).all() for picture in pictures)
        assert same == (name in PARTS[covered])  # type: ignore[index]


@pytest.mark.parametrize("feature", range(5))
def test_every_feature_can_be_seen_in_steps(feature: int):
    looks = []
    for value in np.linspace(-1, 1, 9):
        features = [0.0] * 5
        features[feature] = float(value)
        looks.append(pixels(Look(tuple(features))))
    assert all((a != b).any() for a, b in pairwise(looks))


def test_the_same_arguments_draw_the_same_faces_and_another_seed_or_split_others():
    first, again = ([sample for sample, _ in faces(5, 7)] for _ in range(2))
    assert first == again
    others = [sample.image for seed, split in ((8, "test"), (7, "train")) for sample, _ in faces(5, seed, split=split)]
    assert not {sample.image for sample in first} & set(others)


def test_labels_and_votes_follow_the_posterior():
    drawn = list(faces(400, 1))
    expected = np.mean([truth.accuracy() for _, truth in drawn])
    named = np.mean([sample.label == truth.label for sample, truth in drawn])
    voted = np.mean([(sample.votes or {}).get(truth.label, 0) / 10 for sample, truth in drawn])
    assert named == pytest.approx(expected, abs=4 * 0.5 / 400**0.5)
    assert voted == pytest.approx(expected, abs=2 * 0.5 / 400**0.5)


def test_the_dials_are_checked():
    for world in ({"prior": (1.0, 2.0)}, {"occlusion": 1.5}, {"deviation": 0.0}, {"raters": 0}):
        with pytest.raises(ValueError, match=r"shares|occlusion"):
            World(**world)  # type: ignore[arg-type]


def row(truth: FaceTruth, predicted: str | None, confidence: float | None, state: State = State.OK) -> Prediction:
    return Prediction(truth.id, "faces", "", truth.id, "happy", predicted, confidence, state, Source.VERBALIZED, "m")


def test_the_regret_of_the_truth_is_nothing_and_of_a_constant_what_it_costs():
    truths = {str(i): FaceTruth(str(i), {"happy": p, "sad": 1 - p}) for i, p in enumerate((0.9, 0.6, 0.3))}
    honest = regret([row(truth, truth.label, truth.accuracy()) for truth in truths.values()], truths)
    assert honest.regret == 0.0
    assert honest.brier == pytest.approx((0.09 + 0.24 + 0.21) / 3)
    assert honest.accuracy == honest.bayes_accuracy == pytest.approx((0.9 + 0.6 + 0.7) / 3)
    constant = regret([row(truth, "happy", 0.6) for truth in truths.values()], truths)
    assert constant.regret == pytest.approx((0.09 + 0.0 + 0.09) / 3)
    assert constant.brier == pytest.approx(constant.own_brier + constant.regret)


def test_refusing_is_the_worst_that_can_be_said():
    truth = FaceTruth("1", {"happy": 0.5, "sad": 0.5})
    scored = regret([row(truth, None, None, State.EMPTY)], {"1": truth})
    assert (scored.accuracy, scored.brier, scored.regret) == (0.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="the truth of '1' is not known"):
        regret([row(truth, "sad", 0.5)], {})


def test_a_written_file_is_read_as_samples_with_their_truth_and_its_splits_do_not_overlap(tmp_path: Path):
    main(
        ["--train", "20", "--unlabelled", "5", "--calibrate", "10", "--test", "6", "--out", str(tmp_path / "f.parquet")]
    )
    samples, truths = read_samples(tmp_path / "f.parquet"), read_truths(truth_path(tmp_path / "f.parquet"))
    assert len(samples) == 20 + 5 + 10 + 6 * len(SHIFTS)
    assert [sample.id for sample in samples] == list(truths)
    assert {sample.group for sample in samples if sample.split == "test"} == set(SHIFTS)
    assert {sample.label for sample in samples if sample.split == "unlabelled"} == {None}
    check_disjoint(samples)


def test_a_truth_that_does_not_sum_to_one_is_named(tmp_path: Path):
    (tmp_path / "t.jsonl").write_text('{"id": "a", "shares": {"happy": 0.5}}\n')
    with pytest.raises(UserError, match=r"t\.jsonl, line 1: shares of 'a' must sum to 1"):
        read_truths(tmp_path / "t.jsonl")
