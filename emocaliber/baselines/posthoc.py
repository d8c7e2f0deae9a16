"""Post-hoc calibration of a model's label probability: temperature and isotonic maps, one a task, fitted on calibration
rows.

Not trained with the model: the floor that a stated confidence must reach, and a tool for models that cannot be
trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from emocaliber.calibrators import fit_isotonic, fit_temperature, tempered
from emocaliber.predictions import Prediction, Source


def temperature_scaled(rows: Sequence[Prediction], calibration: Sequence[Prediction], method: str) -> list[Prediction]:
    """`rows` with their distributions tempered, one temperature a task (Guo et al. 2017).

    Rows without a distribution are passed on with their state. Raises ValueError where a task of `rows` has no
    calibration row with a distribution.
    """
    temperatures = {}
    for task in {row.task for row in rows}:
        known = [row for row in calibration if row.task == task and row.distribution]
        order = sorted(known[0].distribution or {}) if known else []
        shares = np.array([[(row.distribution or {})[label] for label in order] for row in known])
        truth = np.array([order.index(row.truth) for row in known])
        temperatures[task] = fit_temperature(shares, truth)
    return [_tempered(row, temperatures[row.task], method) for row in rows]


def _tempered(row: Prediction, temperature: float, method: str) -> Prediction:
    if not row.distribution:
        return replace(row, method=method, source=Source.POSTHOC)
    scaled = tempered(np.array([list(row.distribution.values())]), temperature)[0].tolist()
    distribution = dict(zip(row.distribution, scaled, strict=True))
    return replace(row, confidence=max(scaled), distribution=distribution, method=method, source=Source.POSTHOC)


def isotonic(rows: Sequence[Prediction], calibration: Sequence[Prediction], method: str) -> list[Prediction]:
    """`rows` with their confidence mapped monotonically to the calibration rows' accuracy, one map a task."""
    mapped = {}
    for task in {row.task for row in rows}:
        known = [row for row in calibration if row.task == task and row.confidence is not None]
        right = np.array([row.predicted == row.truth for row in known])
        mapped[task] = fit_isotonic(np.array([row.confidence for row in known], dtype=float), right)
    found = []
    for row in rows:
        c = None if row.confidence is None else float(mapped[row.task](np.array([row.confidence]))[0])
        found.append(replace(row, confidence=c, distribution=None, method=method, source=Source.POSTHOC))
    return found
