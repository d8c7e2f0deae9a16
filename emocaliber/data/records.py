"""Converting one record of any table (a CSV line, a JSON object, a Parquet row) to a sample, or to all of its problems.

Layouts pass records as mappings. A record may have these keys, in order of precedence; case, spaces and hyphens do not
matter:

    image | image_path | file_name | ...  a path under the data root, the file's bytes, or a data: URL
    pixels                            grey levels as text, as in fer2013.csv, if there is no image
    label | ground_truth | emotion    optional if there are votes, or in the split `unlabelled`
    candidates                        a list; by default the taxonomy's labels, or all labels in the file
    votes, raters                     see emocaliber.data.votes
    rationale | reasoning             the reasoning that leads to the label, with or without the tags around it
    second_votes                      counts of a second panel on the same image; may include "unknown" and the like
    question                          the row's own question, if rows differ in what they ask
    id, split | usage, group, task, licence
    cluster | subject | source        by default the image if the row names its task, so that its tasks form a cluster
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from emocaliber.core.images import ImageError, image_hash, read_image_bytes
from emocaliber.core.samples import FileImage, ImageSource, Ratings, Sample, StoredImage
from emocaliber.data.labels import class_number, fold, is_missing, is_no_label
from emocaliber.data.rationales import RationaleError, read_rationale
from emocaliber.data.rows import (
    CLUSTER,
    IMAGE,
    LABEL,
    LABEL_OTHERWISE,
    NAMES,
    RATIONALE,
    SPLIT,
    SPLIT_OTHERWISE,
    SPLITS,
    Defaults,
    Entry,
    Place,
    Problem,
    Row,
    column_name,
    label_of,
    split_named,
)
from emocaliber.data.votes import UNKNOWN, Votes, VotesError, dominant, read_votes
from emocaliber.data.written_images import base64_in, file_name, from_base64, from_pixels

UNLABELLED_NUMBER = "-1"
"""The class number that Hugging Face datasets uses for an unknown class."""
PICTURE_DIGITS = 16
"""Hex digits of the hash that identifies an image."""


@dataclass
class _Record:
    """A record being read: its values, and the problems found so far."""

    place: Place
    values: Mapping[str, Any]
    defaults: Defaults
    problems: list[Problem] = field(default_factory=list)

    def problem(self, kind: str, key: str, what: str, fix: str) -> None:
        self.problems.append(Problem(kind, self.place, key, what, fix))

    def first(self, names: Sequence[str]) -> tuple[str, Any]:
        """The first of these columns with a value, and the value."""
        pairs = ((name, self.values.get(name)) for name in names)
        return next(((name, value) for name, value in pairs if not is_missing(value)), (names[0], None))

    def text(self, *names: str, default: str = "") -> str:
        """A value that must be text or a number; anything else is a problem."""
        name, value = self.first(names)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self.problem("wrong type", name, f"{value!r} is not text", "write one plain value")
            return default
        return str(value)


def read_record(place: Place, values: Mapping[str, Any], defaults: Defaults, default_id: str) -> Iterator[Entry]:
    """The row, or all of its problems."""
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
        cluster=record.text(*CLUSTER) or _picture(record, image) or name,
        votes=votes,
        licence=record.text("licence", default=defaults.licence),
        ratings=ratings,
        label_rule=rule,
        second_votes=_second_votes(record, candidates),
        rationale=_rationale(record, label),
        question=record.text("question"),
    )
    if record.problems:
        yield from record.problems
    else:
        yield Row(place, sample)


def _picture(record: _Record, image: ImageSource) -> str:
    """If the row names its task, an identifier of its image (the path, or else a hash of the bytes); else ""."""
    if is_missing(record.values.get("task")) or image == b"":
        return ""
    if isinstance(image, FileImage):
        return image.name
    try:
        return image_hash(read_image_bytes(image))[:PICTURE_DIGITS]
    except ImageError:
        return ""


def _image(record: _Record) -> ImageSource:
    name, value = record.first(IMAGE)
    if isinstance(value, list | tuple) and len(value) != 1:
        record.problem("several images", name, f"{len(value)} images", "ask about one image a row")
        return b""
    if isinstance(value, list | tuple):
        value = value[0]
    if isinstance(value, Mapping):  # how Parquet files and Hugging Face datasets hold a picture
        value = value.get("path") if value.get("bytes") is None else value["bytes"]
    if isinstance(value, bytes | StoredImage):
        return value
    if isinstance(value, str) and (written := base64_in(value)) is not None:
        if (decoded := from_base64(written)) is None:
            record.problem("image malformed", name, "the data: URL is not base64", "correct it, or name a file")
        return decoded or b""
    if isinstance(value, str) and value.strip():
        return FileImage(record.defaults.root, file_name(record.defaults.root, value))
    if (levels := record.values.get("pixels")) is not None:
        drawn = from_pixels(levels)
        if isinstance(drawn, str):
            record.problem("pixels malformed", "pixels", drawn, "give side x side grey levels, 0 to 255")
        return drawn if isinstance(drawn, bytes) else b""
    known = [str(key) for key in record.values]
    near = next((m for want in IMAGE[:3] for m in difflib.get_close_matches(want, known, n=1)), None)
    hint = f"rename {near!r} to 'image'" if near and near not in IMAGE else "give a path under the data root"
    record.problem("no image named", name, "the row names no image", hint)
    return b""


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
    otherwise = split_named(str(record.first(SPLIT_OTHERWISE)[1])) or record.defaults.split
    written = record.text(*SPLIT, default=otherwise)
    split = split_named(written)
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
    """All answers of the second panel; those that mean "no label" are counted as UNKNOWN."""
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


def _rationale(record: _Record, label: str | None) -> str | None:
    try:
        return read_rationale(record.text(*RATIONALE), label)
    except RationaleError as error:
        record.problem("rationale malformed", record.first(RATIONALE)[0], error.what, error.fix)
        return None


def _stranger(record: _Record, key: str, written: object, candidates: Sequence[str], kind: str) -> None:
    """Add the problem of a label that is not a candidate, unless the candidates themselves are malformed."""
    if any(problem.key == "candidates" for problem in record.problems):
        return
    if (number := class_number(written)) is not None:
        named = record.defaults.class_names
        known = ", ".join(f"{each}={name}" for each, name in named.items())
        record.problem("class number without a name", key,
                       f"{written!r} is a {'number' if '.' in number else 'class number'}, and"
                       f" {f'the classes are {known}' if known else 'nothing names it'}",
                       "name the classes: --labels neutral,happy,... from 0, or --labels"
                       " 1=neutral,2=happy,...")  # fmt: skip
    else:
        record.problem(kind, key, f"{written!r} is not among the candidates",
                       f"correct it, or the candidates {', '.join(candidates)}")  # fmt: skip


def _not_read(record: _Record) -> str:
    """A hint, for a row without a label, at the columns that may hold it by another name."""
    others = [str(name) for name in record.values if name and name not in NAMES][:6]
    shown = ", ".join(map(repr, others))
    return f"; {shown} are not read: call a label 'label', and counts of votes 'votes.joy'" if others else ""


def _stored_ratings(record: _Record) -> Ratings | None:
    """The ratings metadata that `emocaliber data convert` wrote, if any."""
    stored = record.values.get("ratings")
    if not stored:
        return None
    try:
        return msgspec.json.decode(stored, type=Ratings)
    except (msgspec.DecodeError, TypeError) as error:
        record.problem("votes malformed", "ratings", f"not as it was written ({error})", "convert the data again")
        return None


def _renamed(votes: Votes, defaults: Defaults, candidates: Sequence[str]) -> Votes:
    """Counts by candidate, in the candidates' order; votes for a synonym count for its label."""
    counts: Votes = {}
    for label, count in votes.items():
        candidate = str(defaults.match(label, candidates))
        counts[candidate] = counts.get(candidate, 0) + count
    return {candidate: counts[candidate] for candidate in candidates if candidate in counts}


def _label(
    record: _Record, candidates: tuple[str, ...], votes: Votes | None, ratings: Ratings | None, split: str
) -> tuple[str | None, str]:
    name, written = label_of(record.values)
    if record.defaults.class_names and class_number(written) == UNLABELLED_NUMBER:
        written = None
    named = record.defaults.class_names.get(class_number(written) or "")
    written = named if named is not None and is_missing(named) else written
    label = record.defaults.match(written, candidates) if isinstance(written, str | int | float) else None
    stored = record.text("label_rule")
    if label is not None:
        _contradicted(record, name, label, candidates)
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


def _contradicted(record: _Record, name: str, label: str, candidates: Sequence[str]) -> None:
    """Add the problem of another label column that names another of the candidates."""
    for column in (*LABEL, *LABEL_OTHERWISE):
        other = record.values.get(column)
        match = record.defaults.match(other, candidates) if isinstance(other, str) and column != name else None
        if match not in (None, label):
            record.problem("two labels in one row", column, f"{other!r}, but {name} is {label!r}",
                           "leave out the column that is not the label")  # fmt: skip


def _no_label(record: _Record, name: str, written: object) -> None:
    if written is None:
        record.problem("no label", name, "the row has neither a label nor votes",
                       f"give one, or the split `unlabelled` (--in-split unlabelled){_not_read(record)}")  # fmt: skip
    else:
        record.problem("no label", name, f"{written!r} says that the label is missing",
                       f"give one, or the split `unlabelled`; where {written!r} is a label"
                       " itself, list all with --labels")  # fmt: skip
