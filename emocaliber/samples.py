"""Sample: one question about one image. Not an image decoder (see images) and not an answer (see predictions)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FileImage:
    """An image file, named relative to the data root it must stay under."""

    root: Path
    name: str


ImageSource = bytes | FileImage


@dataclass(frozen=True)
class Sample:
    """One question about one image.

    `image` is the encoded file's bytes or a FileImage; `candidates` are the labels to choose from, in prompt order;
    `label` is the dominant label (None where the item is unlabelled); `votes` are rater counts per label;
    `group` names the test condition (for example a trained or a held-out style); `cluster` names what must be resampled
    together in a bootstrap (ten drawings of one emoji are one cluster; by default the sample's own id).
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
