"""Maps of several signals: each adds what it knows, none is needed, and a probe never sees the row that it scores."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from emocaliber.calibration.cross_fitting import cross_validate
from emocaliber.calibration.files import read_map, write_map
from emocaliber.calibration.fit import fit_recalibrator, signals_in
from emocaliber.calibration.learners import fit_signals, hidden_states
from emocaliber.core.predictions import Prediction, Source, State


def asked(n: int, seed: int, *, width: int = 6) -> list[Prediction]:
    """Rows of which the confidence knows one half, "p-true" the other, and the hidden state both."""
    random = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        first, second = random.normal(size=2)
        right = random.random() < 1 / (1 + np.exp(-1.5 * (first + second)))
        state = np.concatenate([[first, second], random.normal(size=width - 2)])
        rows.append(
            Prediction(f"{seed}-{i}", "t", "", f"{seed}-{i}", "joy", "joy" if right else "fear",
                       float(1 / (1 + np.exp(-first))), State.OK, Source.VERBALIZED, "m",
                       signals={"p-true": float(1 / (1 + np.exp(-second))), "blinded": float(random.normal())},
                       hidden=state.astype("<f2").tobytes())
        )  # fmt: skip
    return rows


def brier(rows: list[Prediction]) -> float:
    return float(np.mean([((row.confidence or 0.0) - (row.predicted == row.truth)) ** 2 for row in rows]))


def test_two_signals_together_know_more_than_either_on_unseen_rows():
    held, rows = asked(400, 0), asked(2000, 1)
    together = brier(fit_recalibrator(held, "signals", "signals", per_task=True).apply(rows, "m"))
    single = brier(fit_recalibrator(held, "p-true", "signals", per_task=True).apply(rows, "m"))
    probe = brier(fit_recalibrator(held, "hidden", "probe", per_task=True).apply(rows, "m"))
    assert together < single - 0.02
    assert together < brier(rows) - 0.02
    assert probe < single - 0.02


def test_all_that_rows_have_can_be_mapped():
    assert signals_in(asked(5, 0)) == ["confidence", "blinded", "p-true", "hidden", "signals"]


def test_a_hidden_state_that_knows_nothing_gains_nothing_by_its_width():
    """With as many numbers as rows a probe remembers every row that it was fitted on."""
    noise = np.random.default_rng(2)
    rows = [replace(row, hidden=noise.normal(size=80).astype("<f2").tobytes()) for row in asked(80, 0)]
    assert cross_validate(rows, "hidden", "probe", per_task=False).after > 0.24


def test_a_row_without_a_signal_is_mapped_by_the_others_and_one_without_any_is_not():
    fitted = fit_recalibrator(asked(300, 0), "signals", "signals", per_task=False)
    [row] = asked(1, 1)
    bare = replace(row, signals=None, hidden=None, confidence=None, state=State.MISSING_CONFIDENCE)
    partly, nothing = fitted.apply([replace(row, hidden=None, signals={"p-true": 0.5}), bare], "m")
    assert partly.state is State.OK
    assert nothing.confidence is None


def test_rows_that_all_are_right_make_a_map_that_is_less_than_certain():
    rows = [replace(row, truth=row.predicted) for row in asked(60, 0)]
    assert 0.9 < fit_signals(rows, None)(rows).max() < 1


def test_states_of_two_models_are_refused():
    [first], [second] = asked(1, 0, width=4), asked(1, 1, width=6)
    with pytest.raises(ValueError, match="4 and 6 numbers"):
        hidden_states([first, second])


@pytest.mark.parametrize(("signal", "kind"), [("hidden", "probe"), ("signals", "signals"), ("p-true", "signals")])
def test_the_file_maps_as_the_fit_that_wrote_it(tmp_path, signal, kind):  # noqa: ANN001
    rows = asked(200, 0)
    fitted = fit_recalibrator(rows, signal, kind, per_task=True)
    write_map(tmp_path / "map.json", fitted, rows, ["hash"])
    assert read_map(tmp_path / "map.json")[0] == fitted
