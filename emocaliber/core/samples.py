"""Sample: one question about one image. For decoding images see `images`, for answers see `predictions`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = ["Annotation", "FileImage", "MeanRating", "Ratings", "Sample", "StoredImage"]


@dataclass(frozen=True, slots=True)
class FileImage:
    """An image file, named relative to the data root that it must lie under."""

    root: Path
    name: str


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An encoded image in a Parquet file: row `row` of row group `group`, in the column with the path `column`."""

    file: Path
    group: int
    row: int
    column: str = "image.bytes"


ImageSource = bytes | FileImage | StoredImage
"""Encoded image bytes, or a reference that is read when the image is needed."""


RatingKind = Literal["counts", "annotations", "multi-select", "means"]


@dataclass(frozen=True, slots=True)
class Annotation:
    """One rater's answer: one label, or several if raters may choose several."""

    rater: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MeanRating:
    """A label's mean rating on the data set's own scale, its standard deviation, and the number of raters."""

    mean: float
    deviation: float | None
    raters: int


@dataclass(frozen=True, slots=True)
class Ratings:
    """How the ratings were collected, and what the counts in `votes` do not tell.

    `kind` is one of: "counts", one label per rater; "annotations", the same with each rater's answer; "multi-select",
    any number of labels per rater, so the counts may sum to more than `raters`; "means", no counts but a mean rating
    per label, so that any distribution is fitted, not counted. `raters` is None if the data does not say.
    """

    kind: RatingKind
    raters: int | None = None
    annotations: tuple[Annotation, ...] = ()
    means: dict[str, MeanRating] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """One question about one image.

    `image` is the encoded image or a reference to it; `candidates` are the labels to choose from, in prompt order;
    `label` is the dominant label (None if the item is unlabelled); `votes` are rater counts per label. `group` names
    the test condition (for example a trained or a held-out style). `cluster` names what a bootstrap resamples together
    (ten drawings of one emoji are one cluster; by default the sample's own id). `ratings` says how the votes were
    collected; `label_rule` says where the label comes from: `given` by the data, or derived from the votes by
    `plurality` or `majority` (see emocaliber.data.votes). `second_votes` are all answers of a second panel of raters on
    the same image, "unknown" for answers outside the candidates: used for evaluation only, never for training.
    `question` is the row's own question, if rows differ in what they ask; the prompt then contains {question}.
    `rationale` is the reasoning that leads to the label, without tags: a training target for recipes whose template
    contains {reasoning}.
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
        """How many raters gave the votes, if there is a second panel and the data says so; else None."""
        return self.ratings.raters if self.second_votes and self.ratings else None
