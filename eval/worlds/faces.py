"""Synthetic schematic faces with known p(label | face), so that the best possible confidence is known too.

They serve as ground truth for evaluating calibration methods. A label is drawn from a prior, the five expressive
features of a face from densities that depend on the label, and raters answer from the posterior. The file written is an
ordinary file of samples; the true probabilities are in a file beside it (see faces_truth).

    python -m eval.worlds.faces --out out/faces.parquet --test 5000
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import truncnorm

from emocaliber.core.samples import Sample
from emocaliber.data.convert import SCHEMA, sample_row
from eval.worlds.faces_drawing import FEATURES, PARTS, Look, Part, Style, draw_face
from eval.worlds.faces_truth import FaceTruth, truth_path, write_truths

Floats = npt.NDArray[np.float64]

TASK = "faces"
LABELS = ("happy", "surprised", "angry", "sad", "shy", "sleepy")
CENTRES: Floats = np.array(
    [  # brow slant, brow height, eye opening, mouth curve, mouth opening, each in [-1, 1]
        [0.1, 0.2, 0.2, 0.7, 0.2],
        [0.0, 0.8, 0.8, 0.0, 0.8],
        [-0.8, -0.5, 0.3, -0.4, 0.0],
        [0.7, 0.1, -0.2, -0.7, -0.4],
        [0.4, 0.3, -0.3, 0.2, -0.7],
        [0.1, -0.3, -0.9, 0.0, -0.2],
    ]
)
"""Where each label's features lie most often, [label, feature]."""


@dataclass(frozen=True)
class World:
    """The dials. `deviation` is the features' standard deviation around a label's centre, before they are cut to
    [-1, 1]: the larger, the less a face says of its label. `prior` [6] is the share of each label, None for even.

    Shift: `occlusion` is the share of faces of which a part (brows and eyes, or mouth) is covered; `style` an unseen
    way to draw. Both leave the truth exact. `clutter` (strokes behind the face) and `noise` (the pixels'
    standard deviation, in grey levels of 255) do not enter p(label | face): with them the Bayes optimum is a bound.
    """

    deviation: float = 0.55
    prior: tuple[float, ...] | None = None
    occlusion: float = 0.0
    style: Style = "round"
    clutter: int = 0
    noise: float = 0.0
    raters: int = 10

    def __post_init__(self) -> None:
        if self.prior is not None and (len(self.prior) != len(LABELS) or min(self.prior) < 0 or sum(self.prior) <= 0):
            raise ValueError(f"prior needs {len(LABELS)} shares, none below 0, for {', '.join(LABELS)}")
        if not 0 <= self.occlusion <= 1 or self.deviation <= 0 or self.raters < 1:
            raise ValueError("occlusion must lie in [0, 1], deviation above 0, and there must be a rater")

    @property
    def shares(self) -> Floats:
        """The prior [6], summing to 1."""
        weights = np.ones(len(LABELS)) if self.prior is None else np.array(self.prior, dtype=float)
        result: Floats = weights / weights.sum()
        return result

    def posterior(self, features: Floats, covered: Part | None = None) -> Floats:
        """p(label | face) [n, 6] of features [n, 5], of which those of a covered part are not seen.

        Exact: given the label the features are independent, so what is covered drops out of the product.
        """
        visible = [i for i, name in enumerate(FEATURES) if covered is None or name not in PARTS[covered]]
        logs = np.log(np.maximum(self.shares, 1e-300)) + sum(
            truncnorm.logpdf(features[:, None, i], *self._bounds(i), loc=CENTRES[:, i], scale=self.deviation)
            for i in visible
        )
        weights = np.exp(logs - logs.max(axis=1, keepdims=True))
        result: Floats = weights / weights.sum(axis=1, keepdims=True)
        return result

    def draw_features(self, labels: npt.NDArray[np.int64], random: np.random.Generator) -> Floats:
        """Features [n, 5] of faces with these labels [n]."""
        columns = []
        for i in range(len(FEATURES)):
            low, high = self._bounds(i)
            columns.append(
                truncnorm.rvs(low[labels], high[labels], loc=CENTRES[labels, i], scale=self.deviation,
                              random_state=random)
            )  # fmt: skip
        return np.column_stack(columns)

    def _bounds(self, feature: int) -> tuple[Floats, Floats]:
        """The cut at -1 and 1 in standard deviations from each label's centre."""
        return (-1 - CENTRES[:, feature]) / self.deviation, (1 - CENTRES[:, feature]) / self.deviation


def faces(
    number: int, seed: int, world: World = World(), *, split: str = "test", group: str = "known"
) -> Iterator[tuple[Sample, FaceTruth]]:
    """So many faces with their truth, the same for the same arguments.

    The label is one draw from p(label | face) and the votes are `raters` more of them, so a confidence that is right
    for one is right for the other; in the split `unlabelled` neither is told. Ids begin with split, group and seed.
    """
    random = np.random.default_rng([seed, *f"{split}/{group}".encode()])
    drawn = random.choice(len(LABELS), size=number, p=world.shares)
    features = world.draw_features(drawn, random)
    covers: list[Part | None] = [
        list(PARTS)[random.integers(len(PARTS))] if random.random() < world.occlusion else None for _ in range(number)
    ]
    posteriors = {covered: world.posterior(features, covered) for covered in set(covers)}
    for i, covered in enumerate(covers):
        shares = posteriors[covered][i]
        label = LABELS[random.choice(len(LABELS), p=shares)]
        counts = random.multinomial(world.raters, shares)
        look = Look(tuple(features[i].tolist()), covered, world.style, world.clutter, world.noise)
        name = f"{TASK}-{split}-{group.replace(' ', '-')}-{seed}-{i}"
        labelled = split != "unlabelled"
        votes = {k: int(n) for k, n in zip(LABELS, counts, strict=True) if n}
        sample = Sample(
            name, draw_face(look, random), TASK, LABELS, label if labelled else None, split, group, name,
            votes=votes if labelled else None, licence="CC0-1.0",
        )  # fmt: skip
        yield sample, FaceTruth(name, dict(zip(LABELS, shares.tolist(), strict=True)))


SHIFTS: dict[str, World] = {
    "known": World(),
    "occluded": World(occlusion=1.0),
    "unseen style": World(style="angular"),
    "other prior": World(prior=(0.05, 0.05, 0.3, 0.3, 0.1, 0.2)),
}
"""The test groups of a written file: in distribution, and under each shift whose truth is exact."""


def write_faces(path: Path, counts: dict[str, int], seed: int, shifted: int | None = None) -> None:
    """Write samples and, beside them, their truth; `counts` gives rows per split. A test split holds every group of
    SHIFTS, so many rows each, or `shifted` rows for those out of distribution; the other splits are in distribution."""
    truths: list[FaceTruth] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with pq.ParquetWriter(partial, SCHEMA) as writer:
        for split, number in counts.items():
            for group, world in SHIFTS.items() if split == "test" else [("known", World())]:
                rows = []
                rows_here = number if shifted is None or group == "known" else shifted
                for sample, truth in faces(rows_here, seed, world, split=split, group=group):
                    assert isinstance(sample.image, bytes)
                    rows.append(sample_row(sample, sample.image))
                    truths.append(truth)
                if rows:
                    writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
    write_truths(truth_path(path), truths)
    partial.replace(path)


Split = Literal["train", "unlabelled", "calibrate", "test"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write one file of faces."""
    parser = argparse.ArgumentParser(description="Write schematic faces with a known truth: not real data.")
    defaults: dict[str, int] = {"train": 4000, "unlabelled": 0, "calibrate": 1000, "test": 5000}
    for split in get_args(Split):
        parser.add_argument(f"--{split}", type=int, default=defaults[split], help=f"rows (default {defaults[split]})")
    parser.add_argument("--shifted", type=int, help="test rows of each shifted group (default: as many as --test)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="the Parquet file; its truth is written beside it")
    parsed = parser.parse_args(arguments)
    write_faces(parsed.out, {split: getattr(parsed, split) for split in get_args(Split)}, parsed.seed, parsed.shifted)
    print(f"{parsed.out} and {truth_path(parsed.out)}")


if __name__ == "__main__":
    main()
