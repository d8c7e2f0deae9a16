"""The section that explains the words of a report.

Not the definitions themselves: those stand in `emocaliber.evaluation`, with their sources.

    python -m pytest tests/reporting/test_score_report.py
"""

from __future__ import annotations

from emocaliber.evaluation.scorecard import Settings
from emocaliber.reporting.document import Section, Terms


def how_to_read(settings: Settings) -> Section:
    """What each word means, for a person who meets it here for the first time."""
    return Section("How to read this page", [Terms([*_scores(settings), *_safeguards(settings)])])


def _scores(settings: Settings) -> list[tuple[str, str]]:
    return [
        (
            "Stated confidence",
            "The number from 0 to 1 that comes with an answer. It is calibrated if answers given with 0.7 are right 7"
            " times in 10.",
        ),
        ("Accuracy", "The share of pictures whose label was named correctly."),
        (
            "ECE, expected calibration error",
            "How far, on average, the stated confidence is from the share of answers that were right, over"
            f" {settings.bins} bins. 0 is perfect, but always stating one’s own accuracy reaches it too: read it beside"
            " the Brier score and AUROC.",
        ),
        (
            "Brier score",
            "The mean squared gap between the stated confidence and what happened (1 right, 0 wrong). It rewards being"
            " calibrated and telling right from wrong, both at once. Lower is better. Brier skill is the share of the"
            " constant’s score that was saved.",
        ),
        ("AUROC", "How often a right answer has a higher confidence than a wrong one: 0.5 is guessing, 1 perfect."),
        (
            "AURC",
            "The error rate when only the surest pictures are answered, averaged over how many are. Lower is better.",
        ),
    ]


def _safeguards(settings: Settings) -> list[tuple[str, str]]:
    return [
        (
            "Floor",
            "What can be had without the method: the same labels with one constant confidence per task, or with a"
            " confidence corrected after the fact. A method that does not beat it adds nothing.",
        ),
        (
            "Interval",
            f"Beside each figure stands where it may lie ({100 * settings.level:.0f} %), given how few pictures were"
            " judged. A paired difference judges two methods on the same pictures; “no clear difference” means that its"
            " interval holds zero.",
        ),
        (
            "Missing answers",
            "Pictures without a readable label and confidence are not left out: they count as wrong, with the worst"
            " score.",
        ),
    ]
