"""Which weights stage 3 leaves: its last step, an earlier one that is better beyond doubt, or none, its start.

Two paired, one-sided tests on the held-out rows, between clusters, fixed before anything is seen. The last step stands
unless the one with the least Brier score is better at level DOUBT: the best of ten looks is chosen by chance as well
(eval/results/stage-3-step.md). What stands must then be better than the start at level `gain_alpha` of the recipe, or
stage 3 is left out: its result is the start, stage 2's weights. For an earlier step, which was chosen among all, both
p-values are multiplied by the number of steps that were looked at (Bonferroni).

    kept = keep({0: costs_at_start, 30: costs, 60: costs}, clusters, gain_alpha=0.16)
    kept.step, kept.left_out, kept.sentence
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emocaliber.stages.calibrate.held_out_metrics import Floats, gain

DOUBT = 0.05
"""The level at which an earlier step takes the last one's place."""


@dataclass(frozen=True)
class Kept:
    """The `step` whose weights are the result, 0 for the start, and the `candidate` that was held against the start on
    so many held-out `rows`: by how much its Brier score was lower, the standard error of that, the p-value of the
    one-sided test (Bonferroni's where it is not the last step), and the level that was required of it."""

    step: int
    candidate: int
    rows: int
    gain: float
    error: float
    p: float
    alpha: float

    @property
    def left_out(self) -> bool:
        """Whether the start is the result."""
        return self.step == 0

    @property
    def sentence(self) -> str:
        """What was decided, with its figures."""
        outcome = "left out, and stage 2's weights are the result" if self.left_out else "kept"
        direction = "lower" if self.gain >= 0 else "higher"
        p = "p < .001" if self.p < 0.001 else f"p = {self.p:.3f}".replace("0.", ".", 1)
        return (
            f"Stage 3 is {outcome}: on {self.rows:,} held-out rows the Brier score of its step {self.candidate} is"
            f" {abs(self.gain):.4f} ± {self.error:.4f} {direction} than before it (one-sided {p}; gain_alpha"
            f" {self.alpha:g})."
        )


def keep(costs: Mapping[int, Floats], clusters: Sequence[str], gain_alpha: float) -> Kept:
    """Decide by each look's costs of the same rows, by step: 0 is the start, the highest the last step.

    Raises ValueError where nothing but the start was looked at.
    """
    steps = sorted(step for step in costs if step > 0)
    if not steps:
        raise ValueError("no step after the start was looked at")
    best, last, looks = least(costs), steps[-1], len(steps)
    behind = gain(costs[last], costs[best], clusters)
    earlier = best != last and looks * behind["gain_p"] <= DOUBT
    candidate = best if earlier else last
    ahead = gain(costs[0], costs[candidate], clusters)
    p = min(1.0, (looks if earlier else 1) * ahead["gain_p"])
    step = candidate if p <= gain_alpha else 0
    return Kept(step, candidate, len(clusters), ahead["gain"], ahead["gain_error"], p, gain_alpha)


def least(costs: Mapping[int, Floats]) -> int:
    """The step after the start with the least mean cost, the later of equals."""
    return min((step for step in costs if step > 0), key=lambda step: (float(costs[step].mean()), -step))
