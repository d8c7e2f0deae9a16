"""The monitor: uniform p-values, few false alarms for ever, changes found and dated, rows counted once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, kstest

from emocaliber.evaluation import Monitor
from emocaliber.evaluation.drift import BLOCK, DriftStream, conformal_p_values, log_likelihood_ratios

LEVELS = np.array([0.5, 0.7, 0.8, 0.9, 0.95])


def _rows(rng: np.random.Generator, n: int, *, fear: float = 0.1, sure: float = 0.0, unreadable: float = 0.02) -> tuple:
    labels = np.where(rng.random(n) < fear, "fear", rng.choice(["joy", "anger", "sadness"], n))
    confidence = rng.choice(LEVELS, n, p=[0.2 - sure, 0.2, 0.2, 0.2, 0.2 + sure])
    readable = rng.random(n) >= unreadable
    correct = np.where(rng.random(n) < 0.3, rng.random(n) < confidence, np.nan)
    return [str(name) if ok else None for name, ok in zip(labels, readable, strict=True)], confidence, correct


def _ids(first: int, n: int) -> list[str]:
    return [f"row {number}" for number in range(first, first + n)]


def test_p_values_of_exchangeable_rows_are_uniform_and_independent_with_ties():
    rng = np.random.default_rng(0)
    pool = np.bincount(rng.integers(0, 5, 30), minlength=5)
    values = conformal_p_values(pool, rng.choice(5, 3000), rng.random(3000))
    assert pool.sum() == 3030
    assert kstest(values, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.06


def test_p_values_are_those_of_one_row_after_another():
    rng = np.random.default_rng(1)
    level, chance = rng.integers(0, 4, 600), rng.random(600)
    seen, expected = [0, 1, 1, 3], []
    for one, luck in zip(level.tolist(), chance.tolist(), strict=True):
        below, alike = sum(other < one for other in seen), sum(other == one for other in seen) + 1
        expected.append((below + luck * alike) / (len(seen) + 1))
        seen.append(one)
    assert conformal_p_values(np.bincount([0, 1, 1, 3]), level, chance) == pytest.approx(expected)


def test_what_a_bettor_has_is_fair_before_every_row():
    """The mean over the next bin, by its width, of the ratio is the ratio now: a martingale that begins at 1."""
    widths = np.array([0.2, 0.5, 0.3])
    assert log_likelihood_ratios(np.zeros((1, 3), int), widths) == pytest.approx([0.0])
    for now in ([0, 0, 0], [3, 1, 9]):
        after = np.exp(log_likelihood_ratios(np.array(now) + np.eye(3, dtype=int), widths))
        assert widths @ after == pytest.approx(np.exp(log_likelihood_ratios(np.array([now]), widths))[0])


def test_while_nothing_changes_alarms_are_as_rare_as_promised_over_years():
    """Alarms at .3, so that 40 monitors of 15 weeks can show too many."""
    alarmed = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        monitor = Monitor.of_reference(*_rows(rng, 200), alpha=0.3)
        for week in range(15):
            monitor.update(_ids(100 * week, 100), *_rows(rng, 100))
        alarmed += bool(monitor.alarms)
    assert binomtest(alarmed, 40, 0.3, alternative="greater").pvalue > 0.01


@pytest.mark.parametrize(
    ("change", "stream"),
    [({"fear": 0.35}, "labels"), ({"sure": 0.15}, "confidence"), ({"unreadable": 0.15}, "unreadable")],
)
def test_a_change_is_found_named_and_dated(change: dict[str, float], stream: str):
    rng = np.random.default_rng(3)
    monitor = Monitor.of_reference(*_rows(rng, 1000))
    monitor.update(_ids(0, 1000), *_rows(rng, 1000))
    assert monitor.alarms == []
    monitor.update(_ids(1000, 600), *_rows(rng, 600, **change))
    alarm = monitor.alarms[0]
    assert alarm.stream == stream
    assert monitor.p_value(stream) <= 0.05
    before = 1000 if stream == "unreadable" else 980
    assert abs(alarm.since - before) <= 3 * BLOCK
    assert before < alarm.raised <= before + 500
    assert alarm.unit.startswith("row 1")


def test_labels_that_come_show_a_loss_of_accuracy_that_nothing_else_shows():
    rng = np.random.default_rng(4)
    monitor = Monitor.of_reference(*_rows(rng, 1000))
    labels, confidence, correct = _rows(rng, 2000)
    worse = np.where(rng.random(2000) < 0.35, 0.0, correct)
    monitor.update(_ids(0, 2000), labels, confidence, np.where(np.isnan(correct), np.nan, worse))
    assert {alarm.stream for alarm in monitor.alarms} <= {"accuracy", "calibration"}
    assert monitor.alarms


def test_a_row_counts_once_and_once_more_with_its_label_whatever_the_batches():
    rng = np.random.default_rng(5)
    reference, (labels, confidence, correct) = _rows(rng, 300), _rows(rng, 200)
    once = Monitor.of_reference(*reference)
    assert once.update(_ids(0, 200), labels, confidence, correct) == 200
    assert once.update(_ids(0, 200), labels, confidence, correct) == 0
    late = Monitor.of_reference(*reference)
    assert late.update(_ids(0, 120), labels[:120], confidence[:120], np.full(120, np.nan)) == 120
    assert late.update(_ids(120, 80), labels[120:], confidence[120:], np.full(80, np.nan)) == 80
    labelled = int((~np.isnan(correct)).sum())
    assert late.update(_ids(0, 200), labels, confidence, correct) == labelled
    for name, stream in once.streams.items():
        assert stream.rows == late.streams[name].rows
        assert stream.evidence[-1] == pytest.approx(late.streams[name].evidence[-1])


def test_rows_of_one_picture_count_once():
    rng = np.random.default_rng(6)
    labels, confidence, correct = _rows(rng, 400)
    monitor = Monitor.of_reference(labels, confidence, correct, clusters=[str(row // 4) for row in range(400)])
    assert monitor.streams["unreadable"].pool.sum() == 100
    assert (
        monitor.update([f"picture {row // 4}" for row in range(400)], labels, confidence, np.full(400, np.nan)) == 100
    )


def test_bettors_who_have_bet_long_enough_keep_what_they_have():
    rng = np.random.default_rng(7)
    stream = DriftStream.of_reference(np.full(10, 50), np.linspace(0, 1, 11))
    stream.add(rng.integers(0, 10, 450 * BLOCK), rng.random(450 * BLOCK))
    assert (stream.closed, len(stream.blocks)) == (51, 399)
    assert 0 < stream.kept < 1
    stream.add(np.zeros(4 * BLOCK, int), rng.random(4 * BLOCK))
    assert stream.evidence[-1] > 100
    assert stream.starts[-1] in {450 * BLOCK - BLOCK, 450 * BLOCK}


def test_odd_input_is_refused():
    with pytest.raises(ValueError, match="alpha is 0"):
        Monitor.of_reference(["a", "b"], [0.5, 0.6], [1, 0], alpha=0.0)
    with pytest.raises(ValueError, match="fewer than two"):
        Monitor.of_reference([None, "b"], [0.5, 0.6], [1, 0])
    with pytest.raises(ValueError, match="confidence of row 1 is 60"):
        Monitor.of_reference(["a", "b"], [0.5, 60], [1, 0])
