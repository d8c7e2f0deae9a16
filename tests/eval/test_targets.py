"""A target that carries more information than the label probability scores significantly better in the table."""

from __future__ import annotations

import re

import numpy as np

from emocaliber.core.predictions import Prediction, Source, State
from eval.benchmarks.targets import render_signals_table


def test_a_signal_that_knows_what_the_probability_does_not_is_found_and_one_that_knows_nothing_is_not() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for n in range(240):
        right, share = bool(rng.random() < 0.6), float(rng.uniform(0.5, 0.9))
        signals = {"p-true": 0.9 if right else 0.2, "turned": float(rng.random())}
        shares, truth = {"joy": share, "awe": 1 - share}, "joy" if right else "awe"
        rows.append(
            Prediction(str(n), "t", "", str(n // 2), truth, "joy", share, State.OK, Source.LOGPROB, "m",
                       distribution=shares, probability=share, signals=signals)
        )  # fmt: skip
    cells = [line.split("|") for line in render_signals_table(rows).splitlines() if line.startswith("|")]
    brier_change = {line[1].strip(): line[5].strip() for line in cells}
    assert {"own probability, temperature", "signals: p-true, turned"} <= set(brier_change)
    assert re.fullmatch(r"−0\.2\d+ \(−0\.\d+ to −0\.\d+\)", brier_change["signals: p-true"])
    assert " to +" in brier_change["signals: turned"]
