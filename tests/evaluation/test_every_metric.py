"""What must hold for every metric of a scorecard at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emocaliber.evaluation.compute import DEFAULTS
from emocaliber.evaluation.confidence_families import ANSWERED_ONLY, confidence_values
from emocaliber.evaluation.counts import Counts, count_rows
from emocaliber.evaluation.metric_names import METRICS
from tests.evaluation.rows import ROWS, of

CONTINUOUS = st.floats(0, 1, allow_subnormal=False)
ANY_ROWS = st.one_of(ROWS, st.lists(st.tuples(CONTINUOUS, st.booleans()), min_size=1, max_size=12))
UNBOUNDED = {"overconfidence", "brier_skill", "prr", "log_score", "miscalibration", "discrimination"}
DESCRIPTIONS = {
    "uncertainty",
    "mean_confidence",
    "overconfidence",
    "miscalibration",
    "discrimination",
    "label_accuracy",
}
"""Parts of a score, or not about the confidence: refusing can move them either way."""


def _values(rows: Counts) -> dict[str, float]:
    return {name: float(value) for name, value in confidence_values(rows, DEFAULTS).items()}


@given(ANY_ROWS, st.randoms(use_true_random=False), st.integers(0, 3))
def test_no_order_of_the_rows_changes_any_value(rows: list[tuple[float, bool]], random, invalid: int):  # noqa: ANN001
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert _values(of(rows, invalid)) == pytest.approx(_values(of(shuffled, invalid)), nan_ok=True, abs=1e-12)


@given(ANY_ROWS, st.integers(0, 3))
def test_every_value_is_named_and_within_its_bounds(rows: list[tuple[float, bool]], invalid: int):
    for name, value in _values(of(rows, invalid)).items():
        assert name in METRICS
        if name not in UNBOUNDED and not np.isnan(value):
            assert -1e-9 <= value <= 1 + 1e-9, name


@given(ROWS, st.data())
@settings(max_examples=150)
def test_refusing_to_state_a_confidence_never_improves_a_score(rows: list[tuple[float, bool]], data: st.DataObject):
    invalid = data.draw(st.integers(0, 3))
    gone = data.draw(st.integers(0, len(rows) - 1))
    others = rows[:gone] + rows[gone + 1 :]
    stated = _values(of(rows, invalid))
    right = int(rows[gone][1])
    withheld = _values(
        count_rows([row[0] for row in others], [row[1] for row in others], invalid=invalid + 1, invalid_right=right)
    )
    for name in stated.keys() - DESCRIPTIONS - {ANSWERED_ONLY}:
        if np.isnan(stated[name]) or np.isnan(withheld[name]):
            continue
        gain = withheld[name] - stated[name] if METRICS[name].better == "higher" else stated[name] - withheld[name]
        assert gain <= 2e-5 if name == "smooth_ece" else gain <= 1e-9, name


def test_replicates_measured_together_are_those_measured_one_by_one():
    rng = np.random.default_rng(0)
    values = np.array([0.1, 0.5, 0.8, 1.0])
    counts = rng.integers(0, 6, size=(40, 4)).astype(float)
    hits = rng.binomial(counts.astype(int), 0.6).astype(float)
    invalid = rng.integers(0, 3, size=40).astype(float)
    together = confidence_values(Counts(values, counts, hits, invalid, invalid * 0), DEFAULTS)
    together.pop("smooth_ece")  # of replicates it is interpolated: tests/evaluation/test_smooth.py
    for row in range(40):
        alone = _values(Counts(values, counts[row], hits[row], invalid[row], np.zeros(())))
        alone.pop("smooth_ece")
        both = {name: float(value[row]) for name, value in together.items()}
        assert both == pytest.approx(alone, nan_ok=True, abs=2e-5)
