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
from collections.abc import Iterator, Mapping
from typing import Any

from emocaliber.core.images import ImageError, image_hash, read_image_bytes
from emocaliber.core.samples import FileImage, ImageSource, Sample, StoredImage
from emocaliber.data.labels import fold, is_missing
from emocaliber.data.record_annotations import (
    read_label,
    read_record_rationale,
    read_record_votes,
    read_second_votes,
)
from emocaliber.data.record_fields import Record
from emocaliber.data.rows import (
    CLUSTER,
    IMAGE,
    SPLIT,
    SPLIT_OTHERWISE,
    SPLITS,
    Defaults,
    Entry,
    Place,
    Row,
    column_name,
    split_named,
)
from emocaliber.data.written_images import base64_in, file_name, from_base64, from_pixels

HASH_DIGITS = 16
"""Hex digits of the hash that identifies an image."""


def read_record(place: Place, values: Mapping[str, Any], defaults: Defaults, default_id: str) -> Iterator[Entry]:
    """The row, or all of its problems."""
    record = Record(place, {column_name(key): value for key, value in values.items()}, defaults)
    image = _read_image(record)
    candidates = _read_candidates(record)
    votes, ratings = read_record_votes(record, candidates)
    split = _read_split(record)
    label, rule = read_label(record, candidates, votes, ratings, split)
    name = record.text("id", default=default_id)
    sample = Sample(
        id=name,
        image=image,
        task=record.text("task", default=defaults.task),
        candidates=candidates,
        label=label,
        split=split,
        group=record.text("group"),
        cluster=record.text(*CLUSTER) or _image_identifier(record, image) or name,
        votes=votes,
        licence=record.text("licence", default=defaults.licence),
        ratings=ratings,
        label_rule=rule,
        second_votes=read_second_votes(record, candidates),
        rationale=read_record_rationale(record, label),
        question=record.text("question"),
    )
    if record.problems:
        yield from record.problems
    else:
        yield Row(place, sample)


def _image_identifier(record: Record, image: ImageSource) -> str:
    """If the row names its task, an identifier of its image (the path, or else a hash of the bytes); else ""."""
    if is_missing(record.values.get("task")) or image == b"":
        return ""
    if isinstance(image, FileImage):
        return image.name
    try:
        return image_hash(read_image_bytes(image))[:HASH_DIGITS]
    except ImageError:
        return ""


def _read_image(record: Record) -> ImageSource:
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


def _read_candidates(record: Record) -> tuple[str, ...]:
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


def _read_split(record: Record) -> str:
    otherwise = split_named(str(record.first(SPLIT_OTHERWISE)[1])) or record.defaults.split
    written = record.text(*SPLIT, default=otherwise)
    split = split_named(written)
    if split is None:
        record.problem("unknown split", "split", f"{written!r} is no split", f"write one of {', '.join(dict(SPLITS))}")
    return split or ""
