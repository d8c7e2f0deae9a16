"""Which weights stage 3 keeps: its last step, an earlier step that is significantly better, or its start.

Two paired one-sided tests on the held-out rows, with cluster-robust errors, fixed in advance. The last step is the
candidate unless the step with the lowest Brier score beats it at level SWITCH_ALPHA, since the best of ten evaluations
is also chosen by chance (eval/results/stage-3-step.md). The candidate must then beat the start at the recipe's
`gain_alpha`; otherwise the result is the start, stage 2's weights. For an earlier step, which was chosen among all,
both p-values are multiplied by the number of steps evaluated (Bonferroni).

    kept = select_step({0: costs_at_start, 30: costs, 60: costs}, clusters, gain_alpha=0.16)
    kept.step, kept.left_out, kept.sentence
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emocaliber.stages.calibrate.held_out_metrics import Floats, gain

SWITCH_ALPHA = 0.05
"""The level at which an earlier step replaces the last one."""


@dataclass(frozen=True)
class Kept:
    """The `step` whose weights are the result, 0 for the start, and how the `candidate` step compared with the start on
    the held-out `rows`: `gain` in Brier score (positive is better), its standard `error`, the `p`-value of the
    one-sided test (corrected by Bonferroni where it is not the last step), and the level `alpha` that it needed."""

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
        """The decision and its figures, as a sentence."""
        outcome = "left out, and stage 2's weights are the result" if self.left_out else "kept"
        direction = "lower" if self.gain >= 0 else "higher"
        p = "p < .001" if self.p < 0.001 else f"p = {self.p:.3f}".replace("0.", ".", 1)
        return (
            f"Stage 3 is {outcome}: on {self.rows:,} held-out rows the Brier score of its step {self.candidate} is"
            f" {abs(self.gain):.4f} ± {self.error:.4f} {direction} than before it (one-sided {p}; gain_alpha"
            f" {self.alpha:g})."
        )


def select_step(costs: Mapping[int, Floats], clusters: Sequence[str], gain_alpha: float) -> Kept:
    """Decide by the Brier costs [rows] at each evaluated step, 0 being the start; `clusters` are the rows' clusters.

    Raises ValueError where nothing but the start was evaluated.
    """
    steps = sorted(step for step in costs if step > 0)
    if not steps:
        raise ValueError("no step after the start was evaluated")
    best, last, evaluations = best_step(costs), steps[-1], len(steps)
    over_last = gain(costs[last], costs[best], clusters)
    earlier = best != last and evaluations * over_last["gain_p"] <= SWITCH_ALPHA
    candidate = best if earlier else last
    over_start = gain(costs[0], costs[candidate], clusters)
    p = min(1.0, (evaluations if earlier else 1) * over_start["gain_p"])
    step = candidate if p <= gain_alpha else 0
    return Kept(step, candidate, len(clusters), over_start["gain"], over_start["gain_error"], p, gain_alpha)


def best_step(costs: Mapping[int, Floats]) -> int:
    """The step after the start with the lowest mean cost, the later of equals."""
    return min((step for step in costs if step > 0), key=lambda step: (float(costs[step].mean()), -step))
