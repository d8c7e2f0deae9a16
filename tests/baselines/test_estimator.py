"""Every estimator learns, is repeatable, takes missing views, and comes back from its files as it was."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from emocaliber.baselines.amber2 import Amber2
from emocaliber.baselines.estimator import Estimator, Network
from emocaliber.baselines.evidential import Tmc
from emocaliber.baselines.experiment import NETWORKS
from emocaliber.baselines.opinions import checked
from emocaliber.core.errors import UserError
from tests.baselines.synthetic_views import LABELS, QUICK, views_of

VIEWS, TRUTH, VOTES = views_of()
NEW, NEW_TRUTH, _ = views_of(seed=1)
SMALL = {name: msgspec.structs.replace(network, hidden=(16,)) for name, network in NETWORKS.items()}


@cache
def fitted(name: str) -> Estimator:
    return Estimator(SMALL[name], QUICK).fit(VIEWS, TRUTH, votes=VOTES)


every = pytest.mark.parametrize("name", SMALL)


@every
def test_it_learns_what_the_views_show(name: str):
    assert (fitted(name).predict(NEW) == NEW_TRUTH).mean() > 0.9


@every
def test_its_opinion_is_an_opinion_that_projects_to_its_probabilities(name: str):
    opinion = checked(fitted(name).predict_opinion(NEW))
    assert np.allclose(opinion.projected.numpy(), fitted(name).predict_proba(NEW), atol=1e-5)


@every
def test_the_same_seed_gives_the_same_probabilities_whatever_was_drawn_before(name: str):
    torch.manual_seed(99)
    again = Estimator(SMALL[name], QUICK).fit(VIEWS, TRUTH, votes=VOTES)
    assert np.array_equal(again.predict_proba(NEW), fitted(name).predict_proba(NEW))


@every
def test_it_comes_back_from_its_files_as_it_was(name: str, tmp_path: Path):
    fitted(name).save(tmp_path)
    back = Estimator.load(tmp_path)
    assert np.array_equal(back.predict_proba(NEW), fitted(name).predict_proba(NEW))
    assert (back.network, back.training, back.classes) == (SMALL[name], QUICK, LABELS)
    assert back.trusted_threshold == fitted(name).trusted_threshold


@every
def test_a_view_that_is_left_out_is_a_view_of_nan(name: str):
    absent = dict(VIEWS, noisy=np.full_like(VIEWS["noisy"], np.nan))
    left_out = {"clear": VIEWS["clear"]}
    assert np.array_equal(fitted(name).predict_proba(absent), fitted(name).predict_proba(left_out))
    assert (fitted(name).predict(left_out) == TRUTH).mean() > 0.8


@pytest.mark.parametrize("name", ["tmc", "etmc", "ecml", "ter"])
def test_without_any_view_nothing_is_known(name: str):
    nothing = {view: np.full_like(values[:2], np.nan) for view, values in VIEWS.items()}
    opinion = fitted(name).predict_opinion(nothing)
    assert opinion.uncertainty.tolist() == [1.0, 1.0]
    assert np.allclose(opinion.projected.numpy(), 1 / 3)


@pytest.mark.parametrize("name", ["tmc", "etmc"])
def test_a_missing_view_leaves_more_uncertainty(name: str):
    complete = fitted(name).predict_opinion(NEW).uncertainty
    assert fitted(name).predict_opinion({"noisy": NEW["noisy"]}).uncertainty.mean() > 1.5 * complete.mean()


def test_held_out_rows_are_a_share_of_each_label():
    held = fitted("tmc").held_out_rows
    shares = [np.mean(TRUTH[held] == label) for label in LABELS]
    assert shares == pytest.approx([np.mean(label == TRUTH) for label in LABELS], abs=0.03)


def test_held_out_rows_teach_nothing():
    still = msgspec.structs.replace(QUICK, calibrate=False, scaling="minmax")
    estimator = Estimator(SMALL["tmc"], still).fit(VIEWS, TRUTH)
    order = np.arange(len(TRUTH))
    order[estimator.held_out_rows] = estimator.held_out_rows[::-1]
    other = Estimator(SMALL["tmc"], still).fit({name: view[order] for name, view in VIEWS.items()}, TRUTH)
    assert np.array_equal(estimator.predict_proba(NEW), other.predict_proba(NEW))


def test_validation_rows_that_are_given_are_used_and_none_are_held_out():
    estimator = Estimator(SMALL["tmc"], QUICK).fit(VIEWS, TRUTH, validation=(NEW, NEW_TRUTH, None))
    assert not len(estimator.held_out_rows)
    assert estimator.trusted_threshold is not None


def test_early_stopping_keeps_the_best_epoch_not_the_last():
    patient = msgspec.structs.replace(QUICK, patience=3, epochs=60, learning_rate=0.05, calibrate=False)
    noisy = {"noisy": VIEWS["noisy"]}
    lines: list[str] = []
    estimator = Estimator(SMALL["softmax"], patient).fit(noisy, TRUTH, on_progress=lines.append)
    scores = [float(line.rsplit(" ", 1)[1]) for line in lines]
    held = estimator.held_out_rows
    right = np.searchsorted(LABELS, TRUTH[held])
    least = -np.log(estimator.predict_proba({"noisy": VIEWS["noisy"][held]})[np.arange(len(held)), right]).mean()
    assert len(lines) < 60
    assert scores.index(min(scores)) == len(scores) - 4
    assert least == pytest.approx(min(scores), abs=1e-4)


def test_without_validation_rows_nothing_is_fitted_on_them():
    bare = msgspec.structs.replace(QUICK, validation=0.0)
    estimator = Estimator(SMALL["tmc"], bare).fit(VIEWS, TRUTH)
    assert estimator.temperature == 1.0
    assert estimator.trusted_threshold is None


def test_the_temperature_changes_confidences_not_the_order_of_labels():
    plain = Estimator(SMALL["tmc"], msgspec.structs.replace(QUICK, calibrate=False)).fit(VIEWS, TRUTH, votes=VOTES)
    assert fitted("tmc").temperature != 1.0
    assert np.array_equal(plain.predict_proba(NEW).argsort(1), fitted("tmc").predict_proba(NEW).argsort(1))


@pytest.mark.parametrize("network", [Tmc(hidden=(16,)), Amber2(hidden=(16,))])
def test_a_feature_that_never_varies_does_no_harm(network: Network):
    flat = {**VIEWS, "flat": np.ones((len(TRUTH), 2))}
    estimator = Estimator(network, QUICK).fit(flat, TRUTH, votes=VOTES)
    assert np.isfinite(estimator.predict_proba(flat)).all()


def test_integers_may_be_labels():
    numbers = np.searchsorted(LABELS, TRUTH)
    assert Estimator(SMALL["edl"], QUICK).fit(VIEWS, numbers).predict(VIEWS).dtype.kind == "i"


@pytest.mark.parametrize(
    ("views", "what"),
    [
        ({}, "there is no view"),
        ({"clear": VIEWS["clear"], "other": VIEWS["noisy"]}, "'other' of width 3 was not trained on"),
        ({"clear": VIEWS["clear"][:, :2]}, "'clear' of width 2 was not trained on"),
        ({"clear": VIEWS["clear"], "noisy": VIEWS["noisy"][:3]}, "'noisy' has shape"),
        ({"clear": np.where(np.eye(150, 4), np.nan, VIEWS["clear"])}, "row 0: partly NaN"),
    ],
)
def test_views_that_do_not_fit_are_refused(views: dict[str, np.ndarray], what: str):
    with pytest.raises(UserError, match=what):
        fitted("tmc").predict(views)


def test_votes_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="3 counts"):
        Estimator(SMALL["amber2"], QUICK).fit(VIEWS, TRUTH, votes=VOTES[:, :2])
    nobody = VOTES * (np.arange(len(VOTES)) != 7)[:, None]
    with pytest.raises(UserError, match="row 7: nobody voted"):
        Estimator(SMALL["amber2"], QUICK).fit(VIEWS, TRUTH, votes=nobody)


def test_what_is_not_trained_says_so(tmp_path: Path):
    for ask in (lambda estimator: estimator.predict(VIEWS), lambda estimator: estimator.save(tmp_path)):
        with pytest.raises(UserError, match="not trained; call fit"):
            ask(Estimator(SMALL["tmc"]))


def test_too_few_rows_to_hold_any_out_are_refused():
    with pytest.raises(UserError, match="3 rows are too few to hold out"):
        Estimator(SMALL["tmc"], QUICK).fit({"clear": VIEWS["clear"][:3]}, LABELS)


def test_a_label_outside_the_declared_classes_is_refused():
    with pytest.raises(UserError, match="'sad' is not among"):
        Estimator(SMALL["tmc"], QUICK).fit(VIEWS, TRUTH, classes=LABELS[:2])


def test_a_folder_without_an_estimator_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="no readable estimator"):
        Estimator.load(tmp_path)
