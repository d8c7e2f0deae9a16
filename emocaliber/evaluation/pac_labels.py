"""PAC labels: which of a model's labels to keep and which rows people must review, so that at most a share ε of the
finished set is wrong with probability at least 1 − α (Candès, Ilyas & Zrnic 2025, arXiv 2506.10908).

The paper keeps the model's label while its uncertainty is below a threshold, chosen by an upper confidence bound on the
error in a random sample that people have labelled. Here the sample is drawn without replacement from a finite set, and
human labels count as right, so the bound is exact and the rule is short: go down from the most confident row, and stop
before the sample shows one mistake more than are allowed (`mistakes_allowed`).

The guarantee holds however good the confidences are. Let c = ⌊ε·n⌋, let a be the number of mistakes allowed, and
consider the model's mistakes in this fixed order. More than c mistakes remain only if at most a of the first a + c + 1
mistakes were drawn, and that number is hypergeometric. No union bound is needed, so nothing is lost to one.

    plan = plan_review(confidence, error=0.05, certainty=0.95)
    sample = rng.choice(n, plan.sample, replace=False)          # have people label these
    keep = kept_rows(order, sample_is_wrong, plan.allowed)      # and the others that are not kept
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammainc, gammaln

from emocaliber.evaluation.counts import FloatArray

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.intp]
OPTIMISM = (1.0, 2.0)
"""Planning averages the expected work over two scenarios: as many mistakes as the confidences imply, and twice that."""
SIZES, PLACES = 80, 400
"""The number of sample sizes compared, and of rows at which the stopping probability is evaluated."""


@dataclass(frozen=True)
class ReviewPlan:
    """A review plan.

    Of `rows` in the set, `drawable` have a model's label that nobody has checked, and `sample` of these are drawn.
    `left` = ⌊ε·rows⌋ mistakes may remain, so the sample may show `allowed` mistakes among the kept rows; -1 if no
    sample result suffices, so that every row must be reviewed. `certainty` is the probability that the rule attains, at
    least the one requested. `expected_work` is the expected number of rows reviewed in all, if the confidences are
    about right.
    """

    rows: int
    drawable: int
    sample: int
    left: int
    allowed: int
    certainty: float
    expected_work: int


def failure_probability(drawable: int, sample: int, left: int, allowed: int) -> float:
    """The probability that more than `left` mistakes remain if up to `allowed` mistakes are accepted in a `sample`
    drawn without replacement from `drawable` rows: P[Hypergeometric(drawable, allowed + left + 1, sample) ≤ allowed].
    It is an upper bound if the model makes fewer mistakes than that, and increases with `allowed`."""
    if allowed < 0 or allowed + left + 1 > drawable:
        return 0.0
    mistakes = allowed + left + 1
    drawn = np.arange(max(0, sample - drawable + mistakes), min(allowed, sample) + 1)
    ways = _log_choose(mistakes, drawn) + _log_choose(drawable - mistakes, sample - drawn)
    return min(1.0, float(np.exp(ways - _log_choose(drawable, sample)).sum()))


def mistakes_allowed(drawable: int, sample: int, left: int, certainty: float) -> int:
    """The largest number of mistakes to accept in the sample such that more than `left` remain with probability at most
    1 − certainty; -1 if even a sample without mistakes is not enough."""
    low, high = -1, min(sample, drawable)
    while low < high:
        middle = (low + high + 1) // 2
        if failure_probability(drawable, sample, left, middle) <= 1 - certainty + 1e-12:
            low = middle
        else:
            high = middle - 1
    return low


def plan_review(
    confidence: ArrayLike, *, error: float, certainty: float, settled: int = 0, sample: int | None = None
) -> ReviewPlan:
    """Choose the sample size, before any row is reviewed.

    `confidence` (n,) in [0, 1] of the rows with a model's label; `settled` further rows are, or will be, labelled by
    people (those without a readable answer). The size minimises the expected work (see OPTIMISM); the guarantee does
    not depend on it. `sample` sets it instead. Raises ValueError for an `error` or `certainty` outside (0, 1).
    """
    if not (0 < error < 1 and 0 < certainty < 1):
        raise ValueError(f"error ({error}) and certainty ({certainty}) must lie between 0 and 1")
    values = np.sort(np.asarray(confidence, np.float64))[::-1]
    n, left = values.size, floor(error * (values.size + settled) + 1e-9)
    if left >= n:  # even if every label were wrong
        return ReviewPlan(n + settled, n, 0, left, n, 1.0, 0)
    sizes = _sizes(n) if sample is None else np.array([min(sample, n)])
    allowed = np.array([mistakes_allowed(n, int(size), left, certainty) for size in sizes])
    work = np.mean([_expected_work(np.minimum(1, factor * (1 - values)), sizes, allowed) for factor in OPTIMISM], 0)
    best = int(np.argmin(work))
    reached = 1 - failure_probability(n, int(sizes[best]), left, int(allowed[best]))
    return ReviewPlan(n + settled, n, int(sizes[best]), left, int(allowed[best]), reached, round(float(work[best])))


def kept_rows(order: ArrayLike, sample_is_wrong: ArrayLike, allowed: int) -> BoolArray:
    """Mask (n,) of the rows that need no further review, sampled ones (which people have labelled) included.

    `order` (n,) lists the rows from the most confident down, fixed before the sample is drawn (ties in any fixed
    order); `sample_is_wrong` (n,) is True where a sampled row's label was found wrong. The rows before mistake number
    `allowed` + 1 are kept.
    """
    ranked = np.asarray(order, np.intp)
    mistakes = np.flatnonzero(np.asarray(sample_is_wrong, np.bool_)[ranked])
    stop = ranked.size if mistakes.size <= allowed else int(mistakes[max(allowed, 0)])
    kept = np.zeros(ranked.size, np.bool_)
    kept[ranked[: 0 if allowed < 0 else stop]] = True
    return kept


def simulate_reviews(
    wrong: ArrayLike, plan: ReviewPlan, draws: int, seed: int, settled: int = 0
) -> tuple[IntArray, IntArray]:
    """Simulate reviews of rows whose truth is known: the number of rows reviewed, and of mistakes left, (draws,) each.

    `wrong` (n,) says whether the model's label is wrong, from the most confident row down; `settled` further rows are
    reviewed in any case.
    """
    mistakes, rng = np.asarray(wrong, np.bool_), np.random.default_rng(seed)
    n, so_far = mistakes.size, np.concatenate([[0], np.cumsum(mistakes)])
    looked_at, left = np.zeros(draws, np.intp), np.zeros(draws, np.intp)
    for draw in range(draws):
        sampled = np.zeros(n, np.bool_)
        sampled[rng.choice(n, plan.sample, replace=False, shuffle=False)] = True
        kept = kept_rows(np.arange(n), mistakes & sampled, plan.allowed)
        stop = int(kept.sum())
        looked_at[draw] = settled + n - stop + sampled[:stop].sum()
        left[draw] = so_far[stop] - (mistakes & sampled)[:stop].sum()
    return looked_at, left


def most_confident_first(confidence: ArrayLike, seed: int, tie_break: ArrayLike | None = None) -> IntArray:
    """The row numbers (n,) by descending confidence, ties by descending `tie_break` (a second signal; NaN last) and
    then at random with `seed`."""
    values = np.asarray(confidence, np.float64)
    second = np.zeros(values.size) if tie_break is None else np.nan_to_num(np.asarray(tie_break, np.float64), nan=-1.0)
    return np.asarray(np.lexsort((np.random.default_rng(seed).random(values.size), -second, -values)), np.intp)


def _log_choose(n: int, k: ArrayLike) -> FloatArray:
    chosen = np.asarray(k, np.float64)
    return np.asarray(gammaln(n + 1) - gammaln(chosen + 1) - gammaln(n - chosen + 1))


def _sizes(n: int) -> IntArray:
    return np.unique(np.geomspace(1, n, SIZES).round().astype(np.intp))


def _expected_work(wrong: FloatArray, sizes: IntArray, allowed: IntArray) -> FloatArray:
    """The expected number of reviewed rows for each sample size, (sizes,), if row j of the order is wrong independently
    with probability `wrong[j]`: the sample, and the other rows after the stop. The number of mistakes drawn before row
    j is approximated as Poisson."""
    n = wrong.size
    places = np.unique(np.linspace(0, n - 1, PLACES).round().astype(np.intp))
    share = sizes / n
    drawn = np.cumsum(wrong)[places] * share[:, None]
    stopped = np.where(allowed[:, None] < 0, 1.0, gammainc(np.maximum(allowed, 0)[:, None] + 1, drawn))
    after = stopped.mean(1) if places.size == n else np.trapezoid(stopped, places, axis=1) / n
    return np.asarray(sizes + n * after * (1 - share))
