"""Post-hoc calibration: maps from a score to a probability (`maps`), fitted on held-out rows (`fit`), stored as JSON
(`files`).

Evaluation, stages and baselines all use these maps; nothing here imports them, or torch. For plain arrays:

    from emocaliber.calibration import fit_beta
    calibrated = fit_beta(confidence, correct)(new_confidence)      # (n,) in [0, 1] and (n,) of bool, to (m,) in [0, 1]

In place of `correct`, all but Venn-Abers take the share of raters who chose each answer, (n,) in [0, 1]: see `targets`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emocaliber.calibration.maps import (
        Beta,
        Isotonic,
        Platt,
        Temperature,
        fit_beta,
        fit_confidence_temperature,
        fit_isotonic,
        fit_platt,
        fit_temperature,
        tempered,
    )
    from emocaliber.calibration.venn_abers import VennAbers, fit_venn_abers

__all__ = [
    "Beta",
    "Isotonic",
    "Platt",
    "Temperature",
    "VennAbers",
    "fit_beta",
    "fit_confidence_temperature",
    "fit_isotonic",
    "fit_platt",
    "fit_temperature",
    "fit_venn_abers",
    "tempered",
]


def __getattr__(name: str) -> object:  # on first use, so that commands that fit nothing do not load scipy
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "venn_abers" if name in ("VennAbers", "fit_venn_abers") else "maps"
    return getattr(import_module(f"{__name__}.{module}"), name)
