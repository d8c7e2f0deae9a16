"""Preference pairs from sampled answers: for a correct label, high confidence over low; for a wrong one, low over high.

Pure functions. Both answers of a pair name the same label, so only the confidence is preferred, never one label over
another (the pairs of Leng et al. 2024, arXiv 2410.09724). Nothing is trained or sampled here: `emocaliber predict
--samples K` samples.

    emocaliber data pairs draws/responses.*.jsonl --out pairs.jsonl
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import decode_lines
from emocaliber.core.samples import Sample
from emocaliber.stages.rewards import Reward, stated

Kind = Literal["right", "wrong"]
Key = tuple[str, str]
"""Task and id of a sample."""

NO_PAIRS = "no preference pairs: draw more answers to each question, at a higher temperature"


@dataclass(frozen=True)
class Draw:
    """One sampled answer to a sample's question; `truth` is the sample's dominant label."""

    id: str
    task: str
    candidates: tuple[str, ...]
    truth: str
    text: str


@dataclass(frozen=True)
class Pair:
    """Two answers to one question that name the same label. `kind` says whether this label is right or wrong; `margin`,
    above 0, is by how much the chosen answer's score exceeds the rejected one's."""

    id: str
    task: str
    kind: Kind
    chosen: str
    rejected: str
    margin: float

    @property
    def key(self) -> Key:
        """The sample's task and id."""
        return self.task, self.id


@dataclass(frozen=True)
class PairReport:
    """How many pairs came of how many answers.

    `pairs` are counts by kind, `margin`, `chosen` and `rejected` the mean margins and stated confidences by kind.
    `without` counts the samples without a pair, by reason.
    """

    samples: int
    answers: int
    unreadable: int
    pairs: dict[str, int]
    margin: dict[str, float]
    chosen: dict[str, float]
    rejected: dict[str, float]
    without: dict[str, int]

    @property
    def one_sided(self) -> str | None:
        """A warning where fewer than a tenth of the pairs are of one kind."""
        total = sum(self.pairs.values())
        rare = min(("right", "wrong"), key=lambda kind: self.pairs.get(kind, 0))
        if not total or self.pairs.get(rare, 0) >= 0.1 * total:
            return None
        toward = "under" if rare == "right" else "over"
        return (
            f"only {self.pairs.get(rare, 0)} of {total} pairs are about {rare} answers: they teach {toward}confidence;"
            " draw from other rows, at a higher temperature, or draw more answers each"
        )


def preference_pairs(draws: Iterable[Draw], reward: Reward, least_margin: float) -> tuple[list[Pair], PairReport]:
    """At most one pair for each sample and label: of its answers with this label, the best and the worst by the reward.

    Pairs with a margin below `least_margin`, or none at all, are left out. Answers that cannot be read pair with
    nothing. Raises ValueError for no answers.
    """
    by_sample: defaultdict[tuple[str, str], list[Draw]] = defaultdict(list)
    for draw in draws:
        by_sample[draw.task, draw.id].append(draw)
    if not by_sample:
        raise ValueError("no answers: pairs are made of several answers to each question")
    pairs: list[Pair] = []
    confidences: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    without: Counter[str] = Counter()
    unreadable = 0
    for answers in by_sample.values():
        readings = [(draw, stated(draw.text, draw.candidates)) for draw in answers]
        readable = [(draw, *pair) for draw, pair in readings if pair is not None]
        unreadable += len(readings) - len(readable)
        made = _pairs_of(readable, reward, least_margin)
        pairs += [pair for pair, _, _ in made]
        for pair, high, low in made:
            confidences["chosen", pair.kind].append(high)
            confidences["rejected", pair.kind].append(low)
        if not made:
            without[_reason_without_pairs(len(answers), readable)] += 1
    kinds = Counter(str(pair.kind) for pair in pairs)
    return pairs, PairReport(
        samples=len(by_sample),
        answers=sum(map(len, by_sample.values())),
        unreadable=unreadable,
        pairs=dict(kinds),
        margin={kind: float(np.mean([pair.margin for pair in pairs if pair.kind == kind])) for kind in kinds},
        chosen={kind: float(np.mean(confidences["chosen", kind])) for kind in kinds},
        rejected={kind: float(np.mean(confidences["rejected", kind])) for kind in kinds},
        without=dict(without),
    )


ReadDraw = tuple[Draw, str, float]
"""A draw with the label and confidence that it states."""


def _pairs_of(readable: Sequence[ReadDraw], reward: Reward, least_margin: float) -> list[tuple[Pair, float, float]]:
    """The pairs of one sample, each with the confidences of its chosen and its rejected answer."""
    pairs = []
    for label in sorted({label for _, label, _ in readable}):
        same = [(draw, c, reward(c, float(label == draw.truth))) for draw, named, c in readable if named == label]
        best, worst = max(same, key=lambda option: option[2]), min(same, key=lambda option: option[2])
        margin = best[2] - worst[2]
        if margin > 0 and margin >= least_margin:
            draw = best[0]
            kind: Kind = "right" if label == draw.truth else "wrong"
            pair = Pair(draw.id, draw.task, kind, draw.text, worst[0].text, margin)
            pairs.append((pair, best[1], worst[1]))
    return pairs


def _reason_without_pairs(answers: int, readable: Sequence[ReadDraw]) -> str:
    if answers < 2:
        return "a single answer"
    if len(readable) < 2:
        return "fewer than two readable answers"
    if len({label for _, label, _ in readable}) == len(readable):
        return "no two answers with one label"
    return "no two confidences far enough apart"


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    task: str
    kind: Kind
    chosen: str
    rejected: str
    margin: Annotated[float, msgspec.Meta(gt=0.0)]


def read_pairs(path: Path, samples: Mapping[Key, Sample]) -> list[Pair]:
    """The pairs of a file, each about one of the samples.

    Raises UserError naming file and line where a line is invalid or about another sample, and for an empty file.
    """
    pairs = []
    for number, line in decode_lines(path, _Line):
        pair = Pair(**msgspec.structs.asdict(line))
        if pair.key not in samples:
            raise UserError(
                f"{path}, line {number}: {pair.id!r} of task {pair.task!r} is no row of the recipe's data and splits;"
                " draw the answers from the rows that stage 3 learns from, such as --split calibrate"
            )
        pairs.append(pair)
    if not pairs:
        raise UserError(f"{path}: {NO_PAIRS}")
    return pairs


def report_path(pairs: Path) -> Path:
    """The report beside a file of pairs."""
    return pairs.with_suffix(".report.json")
