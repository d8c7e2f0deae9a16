"""Does the guarantee of `emocaliber review` hold, and how much work does it save?

First on simulated data: confidences that are calibrated, too high, too low, all equal, of a few distinct values, or
adversarial (the most confident answers are wrong, just as many as may go unnoticed). Each run draws data and a sample.
Then on real faces: FER+ with a small classifier of pixels and uncalibrated confidences. The model is poor, but the
guarantee does not depend on the model.

    emocaliber data convert ferplus.zip --out out/ferplus.parquet --drop-problems --max-dropped 1
    python eval/benchmarks/review.py --faces out/ferplus.parquet > eval/results/review.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import floor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv

from emocaliber.core.images import load_image
from emocaliber.data.parquet import read_samples
from emocaliber.evaluation.pac_labels import ReviewPlan, most_confident_first, plan_review, simulate_reviews

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
CERTAINTY, RUNS = 0.95, 1000
SIZES, ERRORS = (200, 1000, 5000), (0.01, 0.05, 0.1)
SIDE = 16


@dataclass(frozen=True)
class World:
    """Stated confidences and whether each answer is wrong, in descending confidence; None: generated for each plan."""

    name: str
    draw: Callable[[int, np.random.Generator], tuple[Floats, Bools]]


def stated(n: int, rng: np.random.Generator) -> Floats:
    """Confidences of a well-calibrated model: mean .83."""
    return rng.beta(5, 1, n)


def world_of(
    right: Callable[[Floats], Floats], states: Callable[[Floats], Floats] = lambda c: c
) -> Callable[..., tuple[Floats, Bools]]:
    """Rows whose probability of being right, and whose stated confidence, are functions of a latent confidence."""

    def draw(n: int, rng: np.random.Generator) -> tuple[Floats, Bools]:
        latent = stated(n, rng)
        confidence = states(latent)
        wrong = rng.random(n) >= right(latent)
        order = most_confident_first(confidence, int(rng.integers(1 << 31)))
        return confidence[order], wrong[order]

    return draw


WORLDS = (
    World("calibrated", world_of(lambda c: c)),
    World("too high (right with c⁴)", world_of(lambda c: c**4)),
    World("too low (right with √c)", world_of(np.sqrt)),
    World("all alike", world_of(lambda c: c, lambda c: np.full(c.size, 0.8))),
    World("three values", world_of(lambda c: c, lambda c: np.digitize(c, [0.7, 0.9]) / 2.5 + 0.1)),
    World("unrelated", world_of(lambda c: np.full(c.size, 0.8))),
    World("backwards", world_of(lambda c: 1.1 - c)),
)


def worst(n: int, plan: ReviewPlan) -> Bools:
    """The most confident answers are wrong, in the number that breaks the promise most often."""
    return np.asarray(np.arange(n) < max(plan.allowed, 0) + plan.left + 1)


def interval(broken: int, runs: int) -> str:
    """A Clopper-Pearson 95 % interval."""
    low = betaincinv(broken, runs - broken + 1, 0.025) if broken else 0.0
    high = betaincinv(broken + 1, runs - broken, 0.975) if broken < runs else 1.0
    return f"{_short(broken / runs)} [{_short(low)}, {_short(high)}]"


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def synthetic(seed: int) -> Iterator[str]:
    """One line per world, size and promise."""
    yield "| confidences | n | ε | sample | looked at, % of n | left wrong, % | promise broken (may be .05) |"
    yield "|---|---|---|---|---|---|---|"
    total = 0
    for number, world in enumerate((*WORLDS, None)):
        for n in SIZES:
            for error in ERRORS:
                looked, left, samples = [], [], []
                for run in range(RUNS):
                    rng = np.random.default_rng([seed, number, n, int(1000 * error), run])
                    if world is None:
                        confidence = np.sort(stated(n, rng))[::-1]
                    else:
                        confidence, wrong = world.draw(n, rng)
                    if run % 50 == 0:  # the plan needs the confidences alone, and is much the same for all draws
                        plan = plan_review(confidence, error=error, certainty=CERTAINTY)
                    mistakes = worst(n, plan) if world is None else wrong
                    work, remaining = simulate_reviews(mistakes, plan, 1, int(rng.integers(1 << 62)))
                    looked.append(work[0])
                    left.append(remaining[0])
                    samples.append(plan.sample)
                broken = int((np.array(left) > floor(error * n + 1e-9)).sum())
                name = "the worst there are" if world is None else world.name
                yield (
                    f"| {name} | {n:,} | {error} | {np.median(samples):,.0f} | {100 * np.mean(looked) / n:.1f} |"
                    f" {100 * np.mean(left) / n:.2f} | {interval(broken, RUNS)} |"
                )
                print(name, n, error, broken, file=sys.stderr, flush=True)
                total += broken
    settings = (len(WORLDS) + 1) * len(SIZES) * len(ERRORS)
    yield f"\nAll {settings * RUNS:,} runs together: broken in {interval(total, settings * RUNS)}."


def features(images: Sequence[object]) -> Floats:
    """Pixels at SIDE by SIDE and orientations of gradients in 6 by 6 cells of the 48 by 48 face."""
    rows = []
    for image in images:
        grey = load_image(image).convert("L").resize((48, 48))  # type: ignore[arg-type]
        pixels = np.asarray(grey, np.float64) / 255
        dy, dx = np.gradient(pixels)
        size, angle = np.hypot(dx, dy), np.arctan2(dy, dx) % np.pi
        bins = [
            np.where((angle * 8 / np.pi).astype(int) == k, size, 0).reshape(6, 8, 6, 8).sum((1, 3)) for k in range(8)
        ]
        cells = np.stack(bins, -1)
        cells /= np.linalg.norm(cells, axis=-1, keepdims=True) + 0.1
        small = np.asarray(grey.resize((SIDE, SIDE)), np.float64).ravel() / 255
        rows.append(np.concatenate([cells.ravel(), small - small.mean()]))
    return np.array(rows)


def faces(path: Path, seed: int) -> tuple[Floats, Bools, str]:
    """A small network's stated confidences on FER+'s test faces, and whether each answer is wrong."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    train = [sample for sample in read_samples(path, "train") if sample.label is not None]
    test = [sample for sample in read_samples(path, "test") if sample.label is not None]
    seen, unseen = (features([sample.image for sample in each]) for each in (train, test))
    scale = StandardScaler().fit(seen)
    model = MLPClassifier((128,), max_iter=25, alpha=1e-3, random_state=seed)
    model.fit(scale.transform(seen), [sample.label for sample in train])
    shares = model.predict_proba(scale.transform(unseen))
    wrong = model.classes_[shares.argmax(1)] != np.array([sample.label for sample in test])
    order = most_confident_first(shares.max(1), seed)
    words = (
        f"{len(test):,} test faces; a network of one hidden layer on gradients and pixels, trained on {len(train):,};"
        f" accuracy {1 - wrong.mean():.3f}, mean stated confidence {shares.max(1).mean():.3f}"
    )
    return shares.max(1)[order], wrong[order], words


def ways(confidence: Floats, wrong: Bools, error: float, seed: int) -> Iterator[tuple[str, Floats, Floats]]:
    """Each method of labelling the set: its name, and over RUNS draws the rows checked by people and the remaining
    mistakes."""
    n, left = wrong.size, floor(error * wrong.size + 1e-9)
    plan = plan_review(confidence, error=error, certainty=CERTAINTY)
    yield "`emocaliber review`", *_floats(simulate_reviews(wrong, plan, RUNS, seed))
    looser = _clopper_pearson(plan, error)
    yield (
        "the same with Clopper–Pearson's bound, sample not deducted",
        *_floats(simulate_reviews(wrong, looser, RUNS, seed)),
    )
    alike = plan_review(np.full(n, confidence.mean()), error=error, certainty=CERTAINTY)
    draws = [np.random.default_rng([seed, run]).permutation(wrong) for run in range(RUNS)]
    shuffled = [simulate_reviews(draw, alike, 1, run) for run, draw in enumerate(draws)]
    looked, remaining = (np.array([each[part][0] for each in shuffled], np.float64) for part in (0, 1))
    yield "random order, with the guarantee", looked, remaining
    expected = np.cumsum(1 - confidence)
    trusted = int(np.searchsorted(expected, left, side="right"))
    yield (
        "most doubtful first, until the confidences promise ε (no guarantee)",
        np.array([n - trusted], float),
        np.array([wrong[:trusted].sum()], float),
    )
    kept = int(np.searchsorted(np.cumsum(wrong), left, side="right"))
    yield (
        "most doubtful first, stopped by an oracle",
        np.array([n - kept], float),
        np.array([wrong[:kept].sum()], float),
    )
    fewest = max(0, int(wrong.sum()) - left)
    yield "only mistakes looked at, by an oracle", np.array([fewest], float), np.array([left], float)


def _clopper_pearson(plan: ReviewPlan, error: float) -> ReviewPlan:
    """The paper's threshold, from an upper bound of the error rate in the sample."""
    counts = np.arange(plan.sample)
    allowed = np.flatnonzero(1 - betainc(counts + 1, plan.sample - counts, error) <= 1 - CERTAINTY)
    return replace(plan, allowed=int(allowed[-1]) if allowed.size else -1)


def _floats(pair: tuple[NDArray[np.intp], NDArray[np.intp]]) -> tuple[Floats, Floats]:
    return pair[0].astype(np.float64), pair[1].astype(np.float64)


def on_faces(path: Path, seed: int) -> Iterator[str]:
    """The table of FER+."""
    confidence, wrong, words = faces(path, seed)
    yield f"{words}."
    for error in (0.05, 0.1, 0.2):
        yield ""
        yield f"At most {100 * error:.0f} % wrong:"
        yield ""
        yield "| way | faces looked at: mean (5 % to 95 % of draws) | left wrong, % | promise broken |"
        yield "|---|---|---|---|"
        for name, looked, left in ways(confidence, wrong, error, seed):
            low, high = np.quantile(looked, [0.05, 0.95])
            spread = f" ({low:,.0f} to {high:,.0f})" if looked.size > 1 else ""
            broken = int((left > floor(error * wrong.size + 1e-9)).sum())
            verdict = interval(broken, looked.size) if looked.size > 1 else ("yes" if broken else "no")
            yield f"| {name} | {looked.mean():,.0f}{spread} | {100 * left.mean() / wrong.size:.2f} | {verdict} |"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=Path, help="FER+ as `emocaliber data convert` writes it")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print("# Review: is the promise kept, and how much work is saved?\n\n## Known truth\n")
    print("\n".join(synthetic(arguments.seed)), flush=True)
    if arguments.faces:
        print("\n## FER+\n")
        print("\n".join(on_faces(arguments.faces, arguments.seed)))


if __name__ == "__main__":
    main()
