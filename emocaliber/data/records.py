"""One record of any table (a CSV line, a JSON object, a Parquet row) as a sample, or everything that is wrong with it.

The layouts hand over mappings. What a record may hold, first name first; case, spaces and hyphens do not matter:

    image | image_path | file_name | ...  a path under the data root, the file's bytes, or a data: address
    pixels                            grey levels as text, as in fer2013.csv, where there is no image
    label | ground_truth | emotion    may be missing where there are votes, or in the split `unlabelled`
    candidates                        a list; by default the taxonomy's labels, or all that the file names
    votes, raters                     see emocaliber.data.votes
    second_votes                      counts of a second panel on the same picture; "unknown" and the like may have some
    id, split | usage, group, task, licence
    cluster | subject | source        where the row names its task, by default the picture's path: several tasks are one
"""

from __future__ import annotations

import base64
import binascii
import difflib
import io
import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from emocaliber.core.samples import FileImage, ImageSource, Ratings, Sample, StoredImage
from emocaliber.data.labels import class_number, fold, is_missing, is_no_label
from emocaliber.data.rows import (
    CLUSTER,
    IMAGE,
    SPLIT,
    SPLITS,
    Defaults,
    Entry,
    Place,
    Problem,
    Row,
    column_name,
    label_of,
)
from emocaliber.data.votes import UNKNOWN, Votes, VotesError, dominant, read_votes


@dataclass
class _Record:
    """A record under way: its values, and the problems so far."""

    place: Place
    values: Mapping[str, Any]
    defaults: Defaults
    problems: list[Problem] = field(default_factory=list)

    def problem(self, kind: str, key: str, what: str, fix: str) -> None:
        self.problems.append(Problem(kind, self.place, key, what, fix))

    def first(self, names: Sequence[str]) -> tuple[str, Any]:
        """The first of these columns that holds something, and what it holds."""
        pairs = ((name, self.values.get(name)) for name in names)
        return next(((name, value) for name, value in pairs if not is_missing(value)), (names[0], None))

    def text(self, *names: str, default: str = "") -> str:
        """A value that must be text (a number will do). A problem where it is not."""
        name, value = self.first(names)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self.problem("wrong type", name, f"{value!r} is not text", "write one plain value")
            return default
        return str(value)


def read_record(place: Place, values: Mapping[str, Any], defaults: Defaults, default_id: str) -> Iterator[Entry]:
    """The row, or every problem that it has."""
    record = _Record(place, {column_name(key): value for key, value in values.items()}, defaults)
    image = _image(record)
    candidates = _candidates(record)
    votes, ratings = _votes(record, candidates)
    split = _split(record)
    label, rule = _label(record, candidates, votes, ratings, split)
    name = record.text("id", default=default_id)
    sample = Sample(
        id=name,
        image=image,
        task=record.text("task", default=defaults.task),
        candidates=candidates,
        label=label,
        split=split,
        group=record.text("group"),
        cluster=record.text(*CLUSTER, default=_picture(record, image) or name),
        votes=votes,
        licence=record.text("licence", default=defaults.licence),
        ratings=ratings,
        label_rule=rule,
        second_votes=_second_votes(record, candidates),
    )
    if record.problems:
        yield from record.problems
    else:
        yield Row(place, sample)


def _picture(record: _Record, image: ImageSource) -> str:
    """What several tasks about one picture share: its path, where the row names its task; else ""."""
    return image.name if isinstance(image, FileImage) and not is_missing(record.values.get("task")) else ""


def _image(record: _Record) -> ImageSource:
    name, value = record.first(IMAGE)
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, Mapping):  # how Parquet files and Hugging Face datasets hold a picture
        value = value.get("path") if value.get("bytes") is None else value["bytes"]
    if isinstance(value, bytes | StoredImage):
        return value
    if isinstance(value, str) and value.startswith("data:image/"):
        return _from_address(record, name, value)
    if isinstance(value, str) and value.strip():
        return FileImage(record.defaults.root, _file_name(record.defaults.root, value))
    if isinstance(record.values.get("pixels"), str):
        return _from_pixels(record, record.values["pixels"])
    known = [str(key) for key in record.values]
    near = next((m for want in IMAGE[:3] for m in difflib.get_close_matches(want, known, n=1)), None)
    hint = f"rename {near!r} to 'image'" if near and near not in IMAGE else "give a path under the data root"
    record.problem("no image named", name, "the row names no image", hint)
    return b""


def _file_name(root: Path, written: str) -> str:
    """The name; where there is no file of that very name, without spaces about it, with slashes for the backslashes of
    Windows, and with its letters composed (NFC), or apart from their accents (NFD) as on a Mac, if there is one of that
    name."""
    plain = "\\" not in written and written.isascii() and written == written.strip()
    if plain or "\0" in written or (root / written).exists():
        return written
    name = written.strip().replace("\\", "/").removeprefix("./")
    forms = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    return name if name.isascii() else next((form for form in forms if (root / form).exists()), name)


def _from_address(record: _Record, name: str, address: str) -> bytes:
    try:
        return base64.b64decode(address.partition(",")[2], validate=True)
    except binascii.Error:
        record.problem("image malformed", name, "the data: address is not base64", "write it anew, or name a file")
        return b""


def _from_pixels(record: _Record, text: str) -> bytes:
    """A square picture of grey levels in text, as PNG."""
    parts = text.split()
    side = math.isqrt(len(parts))
    if side * side != len(parts) or not side or not all(p.isascii() and p.isdigit() and int(p) < 256 for p in parts):
        record.problem("pixels malformed", "pixels", f"{len(parts)} values that are no square of grey levels",
                       "give side x side whole numbers, 0 to 255")  # fmt: skip
        return b""
    buffer = io.BytesIO()
    Image.fromarray(np.array(parts, np.uint8).reshape(side, side)).save(buffer, "PNG")
    return buffer.getvalue()


def _candidates(record: _Record) -> tuple[str, ...]:
    value = record.values.get("candidates")
    if value is None:
        return record.defaults.labels
    if not isinstance(value, list | tuple) or not all(isinstance(label, str) and label.strip() for label in value):
        record.problem("candidates malformed", "candidates", f"{value!r} is not a list of labels",
                       'write a list such as ["joy", "fear"]')  # fmt: skip
        return ()
    if len({fold(label) for label in value}) < len(value):
        record.problem("candidate repeated", "candidates", f"{value!r} lists a label twice", "list each label once")
    if len(value) < 2:
        record.problem("too few candidates", "candidates", f"{value!r} leaves nothing to choose", "list two or more")
    return tuple(value)


def _split(record: _Record) -> str:
    written = record.text(*SPLIT, default=record.defaults.split)
    split = SPLITS.get(written.strip().casefold())
    if split is None:
        record.problem("unknown split", "split", f"{written!r} is no split", f"write one of {', '.join(dict(SPLITS))}")
    return split or ""


def _votes(record: _Record, candidates: tuple[str, ...]) -> tuple[Votes | None, Ratings | None]:
    value, raters = record.values.get("votes"), record.values.get("raters")
    if is_missing(value):
        return None, _stored_ratings(record)
    try:
        if raters is not None and (isinstance(raters, bool) or not isinstance(raters, int) or raters < 1):
            raise VotesError(f"{raters!r} raters", "their number is whole, 1 or more")
        votes, ratings = read_votes(value, raters)
    except VotesError as error:
        record.problem("votes malformed", "votes", error.what, error.fix)
        return None, None
    ratings = _stored_ratings(record) or ratings
    named = [*(votes or {}), *ratings.means]
    if strangers := [label for label in named if record.defaults.match(label, candidates) is None]:
        _stranger(record, "votes", strangers[0], candidates, "vote for a stranger")
        return None, None
    if votes is not None and not any(votes.values()):
        record.problem("no vote", "votes", "there is no vote", "leave the votes out, or the row")
        return None, None
    means = {str(record.defaults.match(label, candidates)): mean for label, mean in ratings.means.items()}
    return votes and _renamed(votes, record.defaults, candidates), replace(ratings, means=means)


def _second_votes(record: _Record, candidates: tuple[str, ...]) -> Votes | None:
    """All answers of the second panel: those that say "no label" are counted together, as UNKNOWN."""
    value = record.values.get("second_votes")
    if is_missing(value):
        return None
    try:
        votes, _ = read_votes(value)
    except VotesError as error:
        record.problem("votes malformed", "second_votes", error.what, error.fix)
        return None
    if not any((votes or {}).values()):
        record.problem("no vote", "second_votes", "there is no vote", "leave them out")
        return None
    counts: Votes = {}
    for label, count in (votes or {}).items():
        candidate = record.defaults.match(label, candidates) or (UNKNOWN if is_no_label(label) else None)
        if candidate is None:
            _stranger(record, "second_votes", label, candidates, "vote for a stranger")
            return None
        counts[candidate] = counts.get(candidate, 0) + count
    return counts


def _stranger(record: _Record, key: str, written: object, candidates: Sequence[str], kind: str) -> None:
    """The problem of a label that no candidate is; none where the candidates themselves are malformed."""
    if any(problem.key == "candidates" for problem in record.problems):
        return
    if class_number(written) is not None:
        record.problem("class number without a name", key, f"{written!r} is a class number, and nothing names it",
                       "name the classes: --labels neutral,happy,... from 0, or --labels"
                       " 1=neutral,2=happy,...")  # fmt: skip
    else:
        record.problem(kind, key, f"{written!r} is not among the candidates",
                       f"mend it, or the candidates {', '.join(candidates)}")  # fmt: skip


def _stored_ratings(record: _Record) -> Ratings | None:
    """What `emocaliber data convert` wrote of how the raters were asked, if anything."""
    stored = record.values.get("ratings")
    if not stored:
        return None
    try:
        return msgspec.json.decode(stored, type=Ratings)
    except (msgspec.DecodeError, TypeError) as error:
        record.problem("votes malformed", "ratings", f"not as it was written ({error})", "convert the data again")
        return None


def _renamed(votes: Votes, defaults: Defaults, candidates: Sequence[str]) -> Votes:
    """Counts by candidate, in the candidates' order: what a synonym got is its label's."""
    counts: Votes = {}
    for label, count in votes.items():
        candidate = str(defaults.match(label, candidates))
        counts[candidate] = counts.get(candidate, 0) + count
    return {candidate: counts[candidate] for candidate in candidates if candidate in counts}


def _label(
    record: _Record, candidates: tuple[str, ...], votes: Votes | None, ratings: Ratings | None, split: str
) -> tuple[str | None, str]:
    name, written = label_of(record.values)
    label = record.defaults.match(written, candidates) if isinstance(written, str | int | float) else None
    stored = record.text("label_rule")
    if label is not None:
        return label, stored or "given"
    if is_no_label(written) and stored:
        return None, stored
    if is_no_label(written):
        if votes is not None:
            rule = record.defaults.rule
            return dominant(votes, rule, ratings.raters if ratings else None), rule
        needed = record.defaults.labelled and split != "unlabelled"
        if ratings is None and needed and is_missing(record.values.get("votes")):
            _no_label(record, name, written)
        return None, "given"
    if not isinstance(written, str | int | float):
        record.problem("wrong type", name, f"{written!r} is not a label", "write the label's name")
    else:
        _stranger(record, name, written, candidates, "label not among candidates")
    return None, "given"


def _no_label(record: _Record, name: str, written: object) -> None:
    if written is None:
        record.problem("no label", name, "the row has neither a label nor votes",
                       "give one, or the split `unlabelled`")  # fmt: skip
    else:
        record.problem("no label", name, f"{written!r} says that the label is missing",
                       f"give one, or the split `unlabelled`; where {written!r} is a label"
                       " itself, list all with --labels")  # fmt: skip
