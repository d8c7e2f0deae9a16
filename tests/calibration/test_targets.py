"""Maps fitted to votes: a confidence becomes the share of raters who choose the answer, not its accuracy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from emocaliber.calibration.cross_fitting import cross_validate
from emocaliber.calibration.files import read_map, write_map
from emocaliber.calibration.fit import Kind, Signal, fit_recalibrator, kinds_of
from emocaliber.calibration.maps import Beta, Platt, fit_beta, fit_isotonic, fit_platt, fit_temperature
from emocaliber.calibration.matrix import fit_matrix
from emocaliber.calibration.targets import Target, correctness, vote_shares
from emocaliber.core.predictions import Prediction, Source, State
from emocaliber.evaluation import count_rows
from emocaliber.evaluation.calibration import ece

LABELS = ("happy", "sad", "angry")
RATERS = 10


def rated(n: int, seed: int, power: float = 2.0) -> list[Prediction]:
    """Rows of RATERS raters who draw from true shares; what the model gives is sharper: the shares to the power. The
    label is the raters' favourite."""
    random = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        shares = random.dirichlet(np.full(3, 1.5))
        votes = dict(zip(LABELS, random.multinomial(RATERS, shares).tolist(), strict=True))
        favourites = [label for label, count in votes.items() if count == max(votes.values())]
        sharp = shares**power / (shares**power).sum()
        top = int(sharp.argmax())
        state = np.append(np.log(shares), random.normal(size=2))
        rows.append(
            Prediction(f"{seed}-{i}", "t", "", f"{seed}-{i}", favourites[0] if len(favourites) == 1 else None,
                       LABELS[top], float(sharp[top]), State.OK, Source.LOGPROB, "m", votes,
                       dict(zip(LABELS, sharp.tolist(), strict=True)), float(sharp[top]),
                       signals={"p-true": float(sharp[top])}, hidden=state.astype("<f2").tobytes())
        )  # fmt: skip
    return rows


def labelled(rows: list[Prediction]) -> list[Prediction]:
    return [row for row in rows if row.truth is not None]


def agreement_ece(confidences: np.ndarray, rows: list[Prediction]) -> float:
    return float(ece(count_rows(confidences, correctness(rows, "votes")), bins=15))


def test_the_temperature_that_sharpened_the_raters_shares_is_found_again() -> None:
    rows = rated(3000, 0)
    temperatures = {
        target: fit_recalibrator(labelled(rows), "distribution", "temperature", per_task=False, target=target).overall
        for target in ("votes", "label")
    }
    assert temperatures["votes"].temperature == pytest.approx(2.0, rel=0.03)  # type: ignore[union-attr]
    assert temperatures["label"].temperature < 1.2, "the favourite of ten is surer than one rater"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("signal", "kind"),
    [(signal, kind) for signal in ("confidence", "distribution", "p-true", "hidden", "signals")
     for kind in kinds_of(signal, "votes")],
)  # fmt: skip
def test_a_map_fitted_to_votes_agrees_better_with_fresh_raters_than_one_fitted_to_labels(signal: Signal, kind: Kind):
    held, fresh = labelled(rated(800, 0)), rated(2000, 1)

    def error(target: Target) -> float:
        return agreement_ece(
            fit_recalibrator(held, signal, kind, per_task=True, target=target).confidences(fresh), fresh
        )

    assert error("votes") < 0.045
    assert error("votes") < error("label") / 2


def test_parameters_that_made_the_shares_are_found_again_from_the_shares_alone() -> None:
    confidence = np.linspace(0.02, 0.98, 200)
    platt, beta = (fit(confidence, made(confidence)) for fit, made in ((fit_platt, Platt(0.5, 0.4)),
                                                                      (fit_beta, Beta(0.4, 0.9, 0.3))))  # fmt: skip
    assert (platt.a, platt.b) == pytest.approx((0.5, 0.4), abs=1e-3)  # type: ignore[union-attr]
    assert (beta.a, beta.b, beta.c) == pytest.approx((0.4, 0.9, 0.3), abs=1e-2)  # type: ignore[union-attr]


def test_unanimous_raters_are_a_label() -> None:
    rows = [replace(row, votes={str(row.truth): 7}) for row in labelled(rated(300, 0))]
    for signal, kind in (("confidence", "beta"), ("distribution", "temperature"), ("distribution", "matrix")):
        to_label, to_votes = (
            fit_recalibrator(rows, signal, kind, per_task=True, target=target)  # type: ignore[arg-type]
            for target in ("label", "votes")
        )
        assert (to_label.overall, to_label.tasks) == (to_votes.overall, to_votes.tasks)


def test_a_matrix_learns_from_the_raters_distribution_which_label_is_overstated() -> None:
    random = np.random.default_rng(0)
    true = random.dirichlet(np.ones(3), 2000)
    stated = true * [3.0, 1.0, 1.0] / (true * [3.0, 1.0, 1.0]).sum(axis=1, keepdims=True)
    votes = np.array([random.multinomial(RATERS, row) for row in true]) / RATERS
    assert np.abs(fit_matrix(LABELS, stated[:1000], votes[:1000])(stated[1000:]) - true[1000:]).mean() < 0.02


def test_the_cross_fitted_score_is_the_brier_score_over_single_raters() -> None:
    rows = rated(200, 0)
    result = cross_validate(rows, "confidence", "platt", per_task=False, target="votes")
    single = [
        (float(row.confidence or 0) - (label == row.predicted)) ** 2
        for row in rows
        for label, count in (row.votes or {}).items()
        for _ in range(count)
    ]
    assert result.before == pytest.approx(np.mean(single))
    assert result.helps


def test_what_votes_say_of_other_labels_than_the_models_is_not_lost() -> None:
    row = replace(rated(1, 0)[0], predicted="sad", votes={"sad": 1, "bored": 3, "happy": 0})
    assert vote_shares(row) == {"sad": 0.25, "bored": 0.75}
    assert correctness([row, replace(row, predicted=None)], "votes").tolist() == [0.25, 0.0]
    for kind in ("temperature", "matrix"):
        fitted = fit_recalibrator([row, *rated(100, 1)], "distribution", kind, per_task=False, target="votes")  # type: ignore[arg-type]
        assert np.isfinite(fitted.confidences([row])).all()


def test_rows_without_votes_do_not_teach_a_map_of_votes() -> None:
    rows = rated(100, 0)
    mixed = [*rows, *(replace(row, votes=None, truth="sad") for row in rated(100, 1))]
    fitted, alone = (
        fit_recalibrator(some, "confidence", "platt", per_task=True, target="votes") for some in (mixed, rows)
    )
    assert fitted == alone
    with pytest.raises(ValueError, match="no row has raters' votes"):
        fit_recalibrator(mixed[100:], "confidence", "platt", per_task=True, target="votes")


def test_venn_abers_is_refused_for_votes_and_not_among_their_kinds() -> None:
    assert set(kinds_of("distribution")) - set(kinds_of("distribution", "votes")) == {"venn-abers"}
    with pytest.raises(ValueError, match="cannot be fitted to votes"):
        fit_recalibrator(rated(60, 0), "confidence", "venn-abers", per_task=True, target="votes")


def test_the_file_says_what_was_fitted_to_and_one_without_the_key_was_fitted_to_labels(tmp_path: Path) -> None:
    rows = labelled(rated(100, 0))
    for target in ("votes", "label"):
        fitted = fit_recalibrator(rows, "confidence", "platt", per_task=True, target=target)  # type: ignore[arg-type]
        write_map(tmp_path / target, fitted, rows, ["hash"])
        assert read_map(tmp_path / target)[0] == fitted
    assert json.loads((tmp_path / "votes").read_text())["target"] == "votes"
    assert "target" not in json.loads((tmp_path / "label").read_text())


@pytest.mark.parametrize("fit", [fit_platt, fit_beta, fit_isotonic])
def test_shares_in_percent_are_an_error_that_names_the_row(fit) -> None:  # noqa: ANN001
    with pytest.raises(ValueError, match="that of row 1 is 60"):
        fit(np.array([0.5, 0.6]), np.array([0.5, 60.0]))


def test_raters_distributions_that_do_not_sum_to_1_are_an_error() -> None:
    with pytest.raises(ValueError, match="3 shares a row that sum to 1"):
        fit_temperature(np.full((2, 3), 1 / 3), np.ones((2, 3)))
