"""Sample: one question about one image. Not an image decoder (see images) and not an answer (see predictions)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = ["Annotation", "FileImage", "MeanRating", "Ratings", "Sample", "StoredImage"]


@dataclass(frozen=True, slots=True)
class FileImage:
    """An image file, named relative to the data root it must stay under."""

    root: Path
    name: str


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An encoded picture in a Parquet file: `row` counts within the row group `group`, and `column` is its path."""

    file: Path
    group: int
    row: int
    column: str = "image.bytes"


ImageSource = bytes | FileImage | StoredImage
"""A picture, or where it lies: what lies somewhere is read when it is needed."""


RatingKind = Literal["counts", "annotations", "multi-select", "means"]


@dataclass(frozen=True, slots=True)
class Annotation:
    """One rater's answer: one label, or several where raters may choose several."""

    rater: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MeanRating:
    """A label's mean rating on the data set's own scale, its standard deviation, and how many rated."""

    mean: float
    deviation: float | None
    raters: int


@dataclass(frozen=True, slots=True)
class Ratings:
    """How raters were asked, and what of it the counts in `votes` do not say.

    `counts`: one label a rater. `annotations`: the same, with who said what. `multi-select`: as many labels a rater
    as he likes, so the counts add up to more than `raters`. `means`: no counts at all, a mean rating a label; any
    distribution made of these is fitted, not counted. `raters` is None where the data does not say.
    """

    kind: RatingKind
    raters: int | None = None
    annotations: tuple[Annotation, ...] = ()
    means: dict[str, MeanRating] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """One question about one image.

    `image` is the encoded file's bytes, or where they lie; `candidates` are the labels to choose from, in prompt order;
    `label` is the dominant label (None where the item is unlabelled); `votes` are rater counts per label;
    `group` names the test condition (for example a trained or a held-out style); `cluster` names what must be resampled
    together in a bootstrap (ten drawings of one emoji are one cluster; by default the sample's own id); `ratings` says
    how the votes were asked for; `label_rule` says where the label comes from: `given` by the data, or made of the
    votes by `plurality` or `majority` (see emocaliber.data.votes). `second_votes` are all answers of a second panel of
    raters on the same picture, "unknown" for those that are no candidate: never learned from, only judged by.
    `question` is what is asked about the picture where rows differ in that; a prompt has {question} for it.
    `rationale` is the reasoning that leads to the label, without the tags around it: learned by a recipe whose template
    states {reasoning}.
    """

    id: str
    image: ImageSource
    task: str
    candidates: tuple[str, ...]
    label: str | None
    split: str
    group: str
    cluster: str
    votes: dict[str, int] | None = None
    licence: str = ""
    ratings: Ratings | None = None
    label_rule: str = "given"
    second_votes: dict[str, int] | None = None
    rationale: str | None = None
    question: str = ""

    @property
    def raters(self) -> int | None:
        """How many gave the votes, where a second panel is compared with them and the data says it."""
        return self.ratings.raters if self.second_votes and self.ratings else None
