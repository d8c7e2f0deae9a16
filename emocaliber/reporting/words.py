"""The plain words of a report: what the figures say, for a person who knows nothing of the project.

Not a judgement of its own: each sentence is computed from a Scorecard, and one that cannot be is left out or says so.

    python -m pytest tests/reporting/test_words.py
"""

from __future__ import annotations

from emocaliber.evaluation.metric_names import METRICS
from emocaliber.evaluation.scorecard import Difference, Estimate, Scores, Settings
from emocaliber.reporting.figures.reliability import inside_band

FEWEST = 20
"""A bin with fewer answers than this is not quoted: its share of right answers says little."""

NOTHING = "not defined"


def opening(scores: Scores, settings: Settings, subject: str = "The model") -> str:
    """How often it was right, what it said about its confidence, and how often that came true."""
    return " ".join([_right(scores, settings, subject), *_said(scores)])


def summary(scores: Scores) -> str:
    """Calibration and ranking, each in a sentence."""
    return " ".join([*_missed_by(scores), *_ranked(scores)])


def against(constant: Scores, difference: Difference | None, scores: Scores) -> str:
    """Whether the stated confidence is worth more than one and the same number every time; "" where unknown."""
    own, floor = scores.headline["brier"].value, constant.headline["brier"].value
    if own is None or floor is None or difference is None:
        return ""
    judged = {"better": "clearly better", "worse": "clearly worse"}
    sure = verdict(difference, "brier")
    return (
        "Had it stated one and the same number for every picture of a task, the squared error of its confidence (Brier"
        f" score, lower is better) would be {floor:.3f}. It is {own:.3f}: {judged.get(sure, sure)}."
    )


def verdict(difference: Difference, metric: str) -> str:
    """Better, worse, or not to be told from chance, by whether the interval of the difference holds zero."""
    if difference.value is None or difference.low is None or difference.high is None:
        return NOTHING
    if difference.low == difference.value == difference.high == 0:
        return "no difference"
    if difference.low <= 0 <= difference.high:
        return "no clear difference"
    return "better" if (difference.value < 0) == (METRICS[metric].better == "lower") else "worse"


def calibrated(scores: Scores) -> str:
    """How many points of the reliability diagram chance alone explains."""
    bins = scores.curves.reliability if scores.curves else []
    inside = sum(inside_band(one) for one in bins)
    return f"{inside} of {len(bins)} points lie where chance alone would put those of a perfectly calibrated model."


def percent(one: Estimate) -> str:
    """A share in per cent."""
    return NOTHING if one.value is None else f"{100 * one.value:.0f} %"


def _right(scores: Scores, settings: Settings, subject: str) -> str:
    accuracy = scores.headline["accuracy"]
    asked = f"{subject} answered {_pictures(scores.n)}"
    counted = ""
    if scores.n_answered < scores.n:
        asked = f"{subject} was asked about {_pictures(scores.n)} and gave a usable answer to {scores.n_answered:,}"
        counted = "; the others count as wrong"
    where = "" if scores.kind == "all" else f" ({scores.kind} “{scores.name}”)"
    if accuracy.value is None:
        return f"{asked}{where}{counted}; how often it was right is {NOTHING}."
    interval = ""
    if accuracy.low is not None and accuracy.high is not None:
        interval = f" ({100 * settings.level:.0f} % interval: {100 * accuracy.low:.0f} to {100 * accuracy.high:.0f} %)"
    return f"{asked}{where}{counted}. It was right on {percent(accuracy)}{interval}."


def _pictures(n: int) -> str:
    return "1 picture" if n == 1 else f"{n:,} pictures"


def _said(scores: Scores) -> list[str]:
    quoted = [one for one in scores.curves.reliability if one.count >= FEWEST] if scores.curves else []
    if not quoted:
        return ["With so few answers, nothing can be said about its stated confidence."]
    commonest = max(quoted, key=lambda one: one.count)
    others = [one for one in (quoted[0], quoted[-1]) if one is not commonest]
    sentences = [
        f"With each answer it states how sure it is, from 0 to 1. When it said about {commonest.mean_confidence:.2f}"
        f" ({commonest.count:,} answers), it was right {100 * commonest.accuracy:.0f} % of the time"
    ]
    sentences += [f"when it said about {one.mean_confidence:.2f}, {100 * one.accuracy:.0f} %" for one in others]
    return ["; ".join(sentences) + "."]


def _missed_by(scores: Scores) -> list[str]:
    ece = scores.headline["ece"].value
    if ece is None:
        return []
    return [
        f"On average, what it said missed what came true by {100 * ece:.1f} percentage points"
        " (expected calibration error)."
    ]


def _ranked(scores: Scores) -> list[str]:
    auroc = scores.headline["auroc"].value
    if auroc is None:
        return ["Whether it is surer of right answers than of wrong ones is not defined here (AUROC needs both)."]
    return [
        "Given one right and one wrong answer, it was surer of the right one in"
        f" {100 * auroc:.0f} % of cases (AUROC; 50 % is guessing)."
    ]
