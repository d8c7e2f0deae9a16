"""The sentences of a report, which state the results in plain words, and the glossary.

Each sentence is computed from a Scorecard; undefined values are omitted or called undefined.

    accuracy_sentences(scores, card.settings)      # "The model answered 240 samples. Its accuracy is 62 % ..."
"""

from __future__ import annotations

from emocaliber.core.predictions import Source
from emocaliber.evaluation.scorecard import Difference, MethodScores, Scores, Settings
from emocaliber.reporting.comparisons import verdict
from emocaliber.reporting.curves import inside_band
from emocaliber.reporting.document import Section, Terms
from emocaliber.reporting.tables import UNDEFINED

FEWEST = 20
"""Bins with fewer answers than this are not quoted, because their accuracy is too uncertain."""

SCORED = {
    Source.VERBALIZED: "verbalized confidences, read from the answers",
    Source.EXPECTED: "the mean over the confidence tokens, not the confidence as written",
    Source.LOGPROB: "token probabilities of the labels, not what the model wrote",
    Source.SAMPLED: "the agreement among sampled responses",
    Source.DIRICHLET: "means of a Dirichlet distribution",
    Source.POSTHOC: "recalibrated confidences (post hoc)",
    Source.CONSTANT: "a constant confidence",
}


def scored_sentence(method: MethodScores) -> str:
    """What was scored, and how many answers were unusable and why."""
    scores = method.find("all")
    sources = " and ".join(SCORED[Source(source)] for source in method.sources)
    states = [f"{count:,} {state}" for state, count in scores.states.items() if state != "ok"]
    unusable = f"{scores.n - scores.n_answered:,} of {scores.n:,} answers unusable"
    reasons = f" ({', '.join(states)})" if states else ""
    return f"Scored for “{method.name}”: {sources}; {unusable}{reasons}."


def accuracy_sentences(scores: Scores, settings: Settings, subject: str = "The model") -> str:
    """The accuracy, overall and at the confidences that were stated."""
    return " ".join([_accuracy(scores, settings, subject), *_by_confidence(scores)])


def calibration_sentences(scores: Scores) -> str:
    """One sentence each on calibration and ranking."""
    return " ".join([*_calibration(scores), *_ranking(scores)])


def constant_sentence(constant: MethodScores, difference: Difference | None, own: Scores, subset: Scores) -> str:
    """Whether the confidence beats a constant; "" if unknown. `subset` holds the constant's scores."""
    brier, reference = own.headline["brier"].value, subset.headline["brier"].value
    if brier is None or reference is None or difference is None:
        return ""
    outcome = verdict(difference, "brier")
    outcome = {"better": "clearly better", "worse": "clearly worse"}.get(outcome, outcome)
    oracle = " that knows the accuracy on these very rows (an oracle)" if constant.oracle else ""
    return (
        f"A constant confidence per task{oracle} has a Brier score of {reference:.3f} (squared error of the confidence,"
        f" lower is better). This confidence has {brier:.3f}: {outcome}."
    )


def reliability_sentence(scores: Scores) -> str:
    """How many points of the reliability diagram lie within their consistency bands."""
    bins = scores.curves.reliability if scores.curves else []
    inside = sum(map(inside_band, bins))
    return (
        f"{inside} of {len(bins)} points lie within the range that sampling variation allows for a perfectly calibrated"
        " model."
    )


def calibration_test_sentence(method: MethodScores) -> str:
    """The result of the binning-free calibration tests; "" if there is none."""
    test = method.calibration_test
    if test is None:
        return ""
    z = f"; Spiegelhalter’s Z {test.spiegelhalter_z:+.2f}".replace("-", "−") if test.spiegelhalter_z is not None else ""
    second = "" if test.spiegelhalter_p is None else f", {_p_value(test.spiegelhalter_p)}"
    return (
        f"Is “{method.name}” calibrated? Range of the cumulative difference of correctness and confidence (ECCE-R)"
        f" {test.ecce:.3f}, {_p_value(test.ecce_p)}{z}{second}. A small p is evidence that it is not. Neither test"
        " depends on bins."
    )


def _p_value(p: float) -> str:
    return f"p = {p:.4f}" if p < 0.01 else f"p = {p:.2f}"


def glossary_section(settings: Settings) -> Section:
    """A glossary for first-time readers."""
    return Section("How to read this page", [Terms([*_metrics(settings), *_safeguards(settings)])])


def _accuracy(scores: Scores, settings: Settings, subject: str) -> str:
    where = "" if scores.kind == "all" else f" ({scores.kind} “{scores.name}”)"
    samples = "1 sample" if scores.n == 1 else f"{scores.n:,} samples"
    answers = f"{subject} answered {samples}{where}"
    counted = ""
    if scores.n_answered < scores.n:
        answers = f"{subject} was asked about {samples}{where} and gave a usable answer to {scores.n_answered:,}"
        counted = "; the others count as wrong"
    accuracy = scores.headline["accuracy"]
    if accuracy.value is None:
        return f"{answers}{counted}; its accuracy is {UNDEFINED}."
    interval = ""
    if accuracy.low is not None and accuracy.high is not None:
        interval = f" ({100 * settings.level:.0f} % interval: {100 * accuracy.low:.0f} to {100 * accuracy.high:.0f} %)"
    return f"{answers}{counted}. Its accuracy is {100 * accuracy.value:.0f} %{interval}."


def _by_confidence(scores: Scores) -> list[str]:
    quoted = [point for point in scores.curves.reliability if point.count >= FEWEST] if scores.curves else []
    if not quoted:
        return ["With so few answers, nothing can be said about its confidence."]
    fullest = max(quoted, key=lambda point: point.count)
    others = [point for point in (quoted[0], quoted[-1]) if point is not fullest]
    parts = [
        f"At a confidence of about {fullest.mean_confidence:.2f} ({fullest.count:,} answers),"
        f" {100 * fullest.accuracy:.0f} % were correct"
    ]
    parts += [f"at about {point.mean_confidence:.2f}, {100 * point.accuracy:.0f} %" for point in others]
    return ["; ".join(parts) + "."]


def _calibration(scores: Scores) -> list[str]:
    ece = scores.headline["ece"].value
    if ece is None:
        return []
    return [f"Confidence and accuracy differ by {100 * ece:.1f} percentage points on average (ECE)."]


def _ranking(scores: Scores) -> list[str]:
    auroc = scores.headline["auroc"].value
    if auroc is None:
        return ["AUROC is undefined here: it needs both correct and wrong answers."]
    return [
        "Of a correct and a wrong answer, the correct one has the higher confidence in"
        f" {100 * auroc:.0f} % of cases (AUROC; 50 % is chance)."
    ]


def _metrics(settings: Settings) -> list[tuple[str, str]]:
    return [
        (
            "Confidence",
            "The number from 0 to 1 that comes with an answer. It is calibrated if, of the answers with confidence 0.7,"
            " 70 % are correct.",
        ),
        ("Accuracy", "The share of samples whose label was predicted correctly."),
        (
            "ECE, expected calibration error",
            f"The gap between mean confidence and accuracy, averaged over {settings.bins} bins. 0 is perfect, but a"
            " constant equal to the accuracy reaches it too, so read it together with the Brier score and AUROC.",
        ),
        (
            "Brier score",
            "The mean squared difference between the confidence and the outcome (1 correct, 0 wrong). It rewards both"
            " calibration and discrimination between correct and wrong answers. Lower is better. Brier skill is the"
            " relative improvement over a constant confidence.",
        ),
        ("AUROC", "How often a correct answer has a higher confidence than a wrong one: 0.5 is chance, 1 perfect."),
        (
            "AURC",
            "The error rate among the most confident answers, averaged over all numbers of answers given. Lower is"
            " better.",
        ),
    ]


def _safeguards(settings: Settings) -> list[tuple[str, str]]:
    return [
        (
            "Reference method",
            "A simple confidence for the same labels: a constant per task, or the confidence after isotonic"
            " recalibration on calibration rows.",
        ),
        ("Oracle", "Fitted on the test rows themselves, which no method may do; shown for comparison only."),
        (
            "Interval",
            f"The range ({100 * settings.level:.0f} %) in which the value may lie, given the limited number of samples."
            " A paired difference compares two methods on the same samples; “no clear difference” means that its"
            " interval contains zero.",
        ),
        (
            "Unusable answers",
            "Samples without a readable label and confidence are not left out: they count as wrong, with the worst"
            " score.",
        ),
    ]
