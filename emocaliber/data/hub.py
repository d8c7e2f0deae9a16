"""Hugging Face datasets, by name and revision (`hub:OWNER/NAME@REVISION`), or a folder of one on the disk.

Not a runner of anybody's code: datasets >= 4 has no loading scripts. Only pictures that came as bytes are read.

    emocaliber data check hub:someone/emotions@4f5e...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from emocaliber.core.errors import UserError
from emocaliber.data.records import LABEL, Given, read_record
from emocaliber.data.rows import Found, Place, Problem

PREFIX = "hub:"


def read_hub(source: str, given: Given) -> Iterator[Found]:
    """The rows of every split. Needs the package `datasets` (extra `train`).

    Raises UserError without a revision, or where the data set cannot be had.
    """
    name, _, revision = source.removeprefix(PREFIX).rpartition("@")
    if not name:
        raise UserError(f"{source}: name a revision, as in {PREFIX}OWNER/NAME@REVISION, so that it can be read again")
    for part, table, names in _splits(name, revision):
        known = given if given.labels else replace(given, candidates=names)
        for number, values in enumerate(table, start=1):
            place = Place(f"{PREFIX}{name} {part}", number, "row")
            yield from _row(place, {"split": part} | _named(values, names), known, f"{part}/{number}")


def _splits(name: str, revision: str) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    from datasets import Features, Image, load_dataset

    try:
        found = load_dataset(name, revision=revision, streaming=True)
    except Exception as error:  # its loaders raise nearly every exception there is
        first = str(error).partition("\n")[0]
        raise UserError(f"{PREFIX}{name}@{revision} cannot be read: {first}") from error
    for part, table in found.items():
        features = table.features or {}
        encoded = {key: Image(decode=False) if isinstance(one, Image) else one for key, one in features.items()}
        yield part, table.cast(Features(encoded)) if features else table, _class_names(features)


def _class_names(features: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the label column's classes, where it has any."""
    from datasets import ClassLabel

    found = (features[key].names for key in (*LABEL, "labels") if isinstance(features.get(key), ClassLabel))
    return tuple(next(found, ()))


def _named(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The record, its class number turned into a name and `labels` read as `label`."""
    record = dict(values)
    if "labels" in record:
        record["label"] = record.pop("labels")
    for key in LABEL:
        number = record.get(key)
        if names and isinstance(number, int) and 0 <= number < len(names):
            record[key] = names[number]
    return record


def _row(place: Place, values: Mapping[str, Any], given: Given, name: str) -> Iterator[Found]:
    image = values.get("image")
    if not (isinstance(image, Mapping) and isinstance(image.get("bytes"), bytes)):
        yield Problem("image not in the data", place, "image", "the row holds no picture's bytes",
                      "take a revision whose files hold the pictures")  # fmt: skip
        return
    yield from read_record(place, values, given, name)
