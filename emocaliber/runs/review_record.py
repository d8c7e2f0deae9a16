"""What a review promised and drew before anything was answered: review.json, and what may be changed of it later.

The promise, the sample and the reading of the table stand; the labels to choose from and the place of the pictures may
be named later, since nothing that is promised rests on them.

    record = read_record(Path("out/review"))
    changed(record, settings, Path("out/review"))       # as the settings have it, or a sentence on what cannot be
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from emocaliber.core.errors import UserError
from emocaliber.core.files import write_atomically
from emocaliber.core.predictions import Prediction
from emocaliber.reading.tables import RECOGNISED, Columns

RECORD = "review.json"


@dataclass(frozen=True)
class ReviewSettings:
    """What is promised: at most `error` of the finished set wrong with a probability of at least `certainty`. `labels`
    are those of every row (None: what the rows name); `sample` and `seed` None: the best size, and chance. `labelled`
    is a table of rows that were drawn at random and labelled already: they are the sample."""

    error: float
    certainty: float
    labels: tuple[str, ...] | None = None
    sample: int | None = None
    seed: int | None = None
    pictures: tuple[str, ...] = ()
    columns: Columns = RECOGNISED
    labelled: Path | None = None

    @property
    def places(self) -> list[str]:
        """The pictures' sources; those on this machine by their whole path."""
        return [str(Path(name).resolve()) if Path(name).exists() else name for name in self.pictures]


class ReviewRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was drawn and promised before anything was answered; `fingerprint` is that of the predictions. `labelled` is
    the file that the sample came from, "" where it was drawn here."""

    predictions: str
    fingerprint: str
    error: float
    certainty: float
    certainty_reached: float
    rows: int
    drawable: int
    left: int
    allowed: int
    expected_work: int
    seed: int
    started: str
    labels: list[str] | None
    pictures: list[str]
    sample: list[str]
    columns: Columns = RECOGNISED
    labelled: str = ""


def read_record(folder: Path) -> ReviewRecord:
    """What was drawn and promised. Raises UserError where the folder holds no review."""
    path = folder / RECORD
    if not path.is_file():
        raise UserError(f"{folder}: there is no review here; `emocaliber review PREDICTIONS --out {folder}` starts one")
    try:
        return msgspec.json.decode(path.read_bytes(), type=ReviewRecord)
    except msgspec.DecodeError as problem:
        raise UserError(f"{path}: {problem}; restore the file, or start a review in another folder") from None


def write_record(folder: Path, record: ReviewRecord) -> None:
    """Onto the disk, whole or not at all."""
    write_atomically(folder / RECORD, [msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"])


def changed(record: ReviewRecord, settings: ReviewSettings, folder: Path) -> ReviewRecord:
    """The record with the labels and pictures of the settings, where they name any. Raises UserError where they name a
    promise, a sample or columns that are not this review's."""
    another, labelled = f"name another --out than {folder}", settings.labelled
    promised, asked = (record.error, record.certainty), (settings.error, settings.certainty)
    if promised != asked:
        raise UserError(
            f"{folder}: the sample was drawn for --error {promised[0]:g} --certainty {promised[1]:g}; another promise"
            f" needs a sample that nobody has seen: {another}"
        )
    if labelled is not None and str(labelled.resolve()) != record.labelled:
        came = f"came from {record.labelled}" if record.labelled else "was drawn when the review started"
        raise UserError(f"--sample {labelled}: the sample of this review {came}; for another one {another}")
    size = len(record.sample)
    if settings.sample is not None and min(settings.sample, record.drawable) != size:
        raise UserError(f"--sample {settings.sample}: {size:,} rows were drawn when this review started; for another"
                        f" sample {another}")  # fmt: skip
    if settings.seed is not None and settings.seed != record.seed:
        raise UserError(f"--seed {settings.seed}: the sample of this review was drawn with {record.seed}; for another"
                        f" one {another}")  # fmt: skip
    columns = msgspec.structs.replace(settings.columns, labels=())
    if columns not in (RECOGNISED, msgspec.structs.replace(record.columns, labels=())):
        raise UserError(f"{folder}: the columns were named when this review started; leave out --…-column and"
                        f" --percent, or {another}")  # fmt: skip
    labels = record.labels if settings.labels is None else list(settings.labels)
    return msgspec.structs.replace(record, labels=labels, pictures=settings.places or record.pictures)


def fingerprint(rows: Iterable[Prediction]) -> str:
    """A hash of what a review rests on: ids, labels and confidences, in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps([row.id, row.predicted, row.confidence, row.truth]).encode())
    return digest.hexdigest()
