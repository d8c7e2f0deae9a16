"""Acceptance criteria of the demo: what the tiny recipe is expected to reach on its own test rows, and what it did.

The values are the scorecard's; one that is missing is a criterion that is not met.

    criteria = demo_criteria(scorecard_of_trained_styles, scorecard_of_the_held_out_style)
"""

from __future__ import annotations

from collections.abc import Callable

from emocaliber.evaluation.reference_methods import CONSTANT
from emocaliber.evaluation.scorecard import Comparison, Difference, Estimate, Scorecard
from emocaliber.reporting.run_summary import Criterion
from emocaliber.runs.judging import ISOTONIC, PROBABILITY, STAGE_1, STAGE_2, STATED, TEMPERATURE

TASK = "kaomoji"
TRAINED, HELD_OUT = "trained styles", "held-out style"
NOTHING = Estimate(None)
ROWS = "kaomoji; trained styles, unless the name says otherwise"


def demo_criteria(trained: Scorecard, held_out: Scorecard) -> list[Criterion]:
    """The criteria, from one scorecard of kaomoji in trained styles and one in the held-out style."""
    stated, shifted = _figure(trained, STATED), _figure(held_out, STATED)
    post = min((TEMPERATURE, ISOTONIC), key=lambda name: _figure(trained, name)("brier").value or 1.0)
    constant = f"{CONSTANT} ({STATED})"
    scores = next(m for m in trained.methods if m.name == STATED).find("all")
    readable = scores.n_answered / scores.n
    distinct = next(m for m in trained.methods if m.name == STATED).distinct_confidences
    compared = _comparison(trained)
    return [
        _at_least("Accuracy of stage 1", 0.62, _figure(trained, STAGE_1)("accuracy")),
        _at_least("Accuracy of stage 3 against stage 1", -0.02, _of(compared(STATED, STAGE_1), "label_accuracy")),
        _at_most("ECE of the stated confidence", 0.05, stated("ece")),
        _at_most(f"Brier above the best post-hoc map ({post})", 0.012, _of(compared(STATED, post), "brier")),
        _below_zero("Brier against the constant", _of(compared(STATED, constant), "brier")),
        _below_zero("Brier against stage 2", _of(compared(STATED, STAGE_2), "brier")),
        _at_least("AUROC against the label probability's", -0.03, _of(compared(STATED, PROBABILITY), "auroc")),
        _at_least("Distinct confidences in use", 10, Estimate(float(distinct))),
        _at_least("Share of readable responses", 0.995, Estimate(readable)),
        _at_least("Accuracy in the held-out style", 0.42, shifted("label_accuracy")),
        _at_most("ECE in the held-out style", 0.12, shifted("ece")),
    ]


def _figure(card: Scorecard, method: str) -> Callable[[str], Estimate]:
    scores = next(m for m in card.methods if m.name == method).find("all")
    return lambda metric: scores.headline.get(metric, NOTHING)


def _comparison(card: Scorecard) -> Callable[[str, str], Comparison | None]:
    def find(first: str, second: str) -> Comparison | None:
        for comparison in card.comparisons:
            if comparison.kind == "all" and {comparison.first, comparison.second} == {first, second}:
                return comparison if comparison.first == first else _reversed(comparison)
        return None

    return find


def _reversed(comparison: Comparison) -> Comparison:
    def negative(value: float | None) -> float | None:
        return None if value is None else -value

    flipped = {
        name: Difference(negative(d.value), negative(d.high), negative(d.low), d.p_value)
        for name, d in comparison.headline.items()
    }
    return Comparison(
        comparison.second,
        comparison.first,
        comparison.kind,
        comparison.name,
        comparison.aggregation,
        comparison.n,
        flipped,
    )


def _of(comparison: Comparison | None, metric: str) -> Estimate:
    difference = comparison.headline.get(metric) if comparison else None
    return NOTHING if difference is None else Estimate(difference.value, difference.low, difference.high)


def _at_least(name: str, bound: float, measured: Estimate) -> Criterion:
    return Criterion(
        name, f"at least {_signed(bound)}", measured, measured.value is not None and measured.value >= bound, ROWS
    )


def _at_most(name: str, bound: float, measured: Estimate) -> Criterion:
    return Criterion(
        name, f"at most {_signed(bound)}", measured, measured.value is not None and measured.value <= bound, ROWS
    )


def _below_zero(name: str, measured: Estimate) -> Criterion:
    return Criterion(
        name, "below 0, interval included", measured, measured.high is not None and measured.high < 0, ROWS
    )


def _signed(bound: float) -> str:
    return f"{bound:g}".replace("-", "−")
