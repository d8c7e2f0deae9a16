"""Stage 3 keeps its last step unless an earlier one is significantly better, or its start unless that is improved."""

from __future__ import annotations

import numpy as np
import pytest

from emocaliber.stages.calibrate.selection import select_step

ROWS = 400
CLUSTERS = [str(n) for n in range(ROWS)]
NOISE = np.random.default_rng(0).normal(0, 0.1, (4, ROWS))
NOISE -= NOISE.mean(axis=1, keepdims=True)
SURE, UNSURE = 0.03, 0.003
"""Differences of the mean cost far beyond and within the standard error, which is .007 between two steps."""


def costs(*means: float) -> dict[int, np.ndarray]:
    """The start, then step 10, 20, 30, with exactly these mean costs."""
    return {10 * n: mean + NOISE[n] for n, mean in enumerate(means)}


@pytest.mark.parametrize(
    ("means", "step"),
    [
        ((0.25, 0.2, 0.2 + UNSURE, 0.2 + UNSURE), 30),
        ((0.25, 0.2, 0.2 + UNSURE, 0.2 + SURE), 10),
        ((0.25, 0.24, 0.21, 0.2), 30),
        ((0.25, 0.25 - UNSURE, 0.25, 0.25 - UNSURE), 0),
        ((0.25, 0.2, 0.3, 0.25 + SURE), 10),
        ((0.25, 0.25 + SURE, 0.25 + SURE, 0.25 + SURE), 0),
    ],
)
def test_the_last_step_is_kept_unless_an_earlier_one_or_the_start_is_better(
    means: tuple[float, ...], step: int
) -> None:
    kept = select_step(costs(*means), CLUSTERS, gain_alpha=0.05)
    assert kept.step == step
    assert kept.left_out == (step == 0)


def test_a_stage_that_changes_nothing_on_average_is_kept_as_often_as_the_level_says() -> None:
    """The candidate is not simply the best of the looks, so that the level holds: 500 stages of ten steps in vain."""
    rng = np.random.default_rng(1)
    base = rng.normal(0.2, 0.1, (500, ROWS))
    kept = sum(
        not select_step({n: row + rng.normal(0, 0.1, ROWS) for n in range(11)}, CLUSTERS, gain_alpha=0.05).left_out
        for row in base
    )
    assert 0.02 < kept / 500 < 0.12


def test_the_level_decides_what_counts_as_a_gain() -> None:
    small = costs(0.25, 0.25 - UNSURE)
    assert select_step(small, CLUSTERS, gain_alpha=0.05).left_out
    assert select_step(small, CLUSTERS, gain_alpha=0.5).step == 10
    assert select_step(costs(0.25, 0.25 + SURE), CLUSTERS, gain_alpha=0.5).left_out
    assert select_step(costs(0.25, 0.25 + SURE), CLUSTERS, gain_alpha=1.0).step == 10


def test_a_single_cluster_is_no_evidence() -> None:
    assert select_step(costs(0.25, 0.1), ["one"] * ROWS, gain_alpha=0.05).left_out


def test_the_sentence_has_the_figures_and_the_direction() -> None:
    left_out = select_step(costs(0.25, 0.25 + SURE), CLUSTERS, gain_alpha=0.05).sentence
    assert "left out, and stage 2's weights are the result" in left_out
    assert "400 held-out rows" in left_out
    assert "step 10 is 0.0300 ± 0.00" in left_out
    assert "higher than before it (one-sided p = 1.000; gain_alpha 0.05)" in left_out
    assert "kept" in select_step(costs(0.25, 0.2), CLUSTERS, gain_alpha=0.05).sentence


def test_without_a_step_nothing_is_decided() -> None:
    with pytest.raises(ValueError, match="no step"):
        select_step(costs(0.25), CLUSTERS, gain_alpha=0.05)
