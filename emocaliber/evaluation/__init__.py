"""Evaluation of confidences: calibration, proper scores, discrimination, selective prediction, trusted metrics,
agreement with annotators, and bootstrap intervals.

Everything here is a pure function of numpy arrays or of `Prediction` rows; nothing imports torch. `score` evaluates
plain arrays, every metric accepts them too, and `emocaliber score FILE` does the same for files:

    from emocaliber.evaluation import ece, score
    card = score(confidence, correct)       # (n,) in [0, 1] and (n,) of 0/1
    print(card)                             # every metric with its 95 % interval
    card["ece"].value, card["ece"].low, card["ece"].high
    ece(confidence, correct, bins=15)       # one metric alone
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emocaliber.evaluation.arrays import score
    from emocaliber.evaluation.auditing import audit
    from emocaliber.evaluation.calibration import classwise_ece, debiased_l2, ece, reliability_curve
    from emocaliber.evaluation.calibration_tests import calibration_test
    from emocaliber.evaluation.classification import accuracy, f1_scores
    from emocaliber.evaluation.counts import count_rows
    from emocaliber.evaluation.disagreement import distce, entce, entropy_rank_correlation, rankcs
    from emocaliber.evaluation.discrimination import auroc, average_precision, rank_correlation
    from emocaliber.evaluation.distributional import agreement, bhattacharyya, hellinger, jensen_shannon, kl
    from emocaliber.evaluation.monitoring import Monitor
    from emocaliber.evaluation.pac_labels import kept_rows, mistakes_allowed, plan_review, simulate_reviews
    from emocaliber.evaluation.proper_scores import brier_score, brier_skill, corp, log_score
    from emocaliber.evaluation.scorecard import Scorecard
    from emocaliber.evaluation.selective import augrc, aurc, coverage_at_risk, excess_aurc, prr, risk_at_coverage
    from emocaliber.evaluation.smooth import smooth_ece
    from emocaliber.evaluation.trusted import best_f1_threshold, risk_threshold, trusted_at

__all__ = [
    "Monitor",
    "Scorecard",
    "accuracy",
    "agreement",
    "audit",
    "augrc",
    "aurc",
    "auroc",
    "average_precision",
    "best_f1_threshold",
    "bhattacharyya",
    "brier_score",
    "brier_skill",
    "calibration_test",
    "classwise_ece",
    "corp",
    "count_rows",
    "coverage_at_risk",
    "debiased_l2",
    "distce",
    "ece",
    "entce",
    "entropy_rank_correlation",
    "excess_aurc",
    "f1_scores",
    "hellinger",
    "jensen_shannon",
    "kept_rows",
    "kl",
    "log_score",
    "mistakes_allowed",
    "plan_review",
    "prr",
    "rank_correlation",
    "rankcs",
    "reliability_curve",
    "risk_at_coverage",
    "risk_threshold",
    "score",
    "simulate_reviews",
    "smooth_ece",
    "trusted_at",
]

_NAMES = {  # by module; imported on first use, so that importing the suites does not load scipy
    "arrays": ("score",),
    "auditing": ("audit",),
    "calibration": (
        "classwise_ece",
        "debiased_l2",
        "ece",
        "reliability_curve",
    ),
    "calibration_tests": ("calibration_test",),
    "classification": (
        "accuracy",
        "f1_scores",
    ),
    "counts": ("count_rows",),
    "disagreement": (
        "distce",
        "entce",
        "entropy_rank_correlation",
        "rankcs",
    ),
    "discrimination": (
        "auroc",
        "average_precision",
        "rank_correlation",
    ),
    "distributional": (
        "agreement",
        "bhattacharyya",
        "hellinger",
        "jensen_shannon",
        "kl",
    ),
    "monitoring": ("Monitor",),
    "pac_labels": (
        "kept_rows",
        "mistakes_allowed",
        "plan_review",
        "simulate_reviews",
    ),
    "proper_scores": (
        "brier_score",
        "brier_skill",
        "corp",
        "log_score",
    ),
    "scorecard": ("Scorecard",),
    "selective": (
        "augrc",
        "aurc",
        "coverage_at_risk",
        "excess_aurc",
        "prr",
        "risk_at_coverage",
    ),
    "smooth": ("smooth_ece",),
    "trusted": (
        "best_f1_threshold",
        "risk_threshold",
        "trusted_at",
    ),
}


def __getattr__(name: str) -> object:
    for module, names in _NAMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
