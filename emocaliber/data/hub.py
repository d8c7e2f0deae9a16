"""Hugging Face datasets, by name and revision (`hub:OWNER/NAME@REVISION`), or a folder of one on the disk.

No code of a data set is run: datasets >= 4 has no loading scripts. Only pictures that came as bytes are read.

    emocaliber data check hub:someone/emotions@4f5e...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from emocaliber.core.errors import UserError
from emocaliber.data.records import LABEL, LABEL_OTHERWISE, Defaults, read_record
from emocaliber.data.rows import Entry, Place, Problem

PREFIX = "hub:"


def read_hub(source: str, defaults: Defaults) -> Iterator[Entry]:
    """The rows of every split. Needs the package `datasets` (extra `train`).

    Raises UserError without a revision, or where the data set cannot be had.
    """
    name, _, revision = source.removeprefix(PREFIX).rpartition("@")
    if not name:
        raise UserError(f"{source}: name a revision, as in {PREFIX}OWNER/NAME@REVISION, so that it can be read again")
    for part, table, names in _splits(name, revision):
        numbers = {str(number): label for number, label in enumerate(names)}
        declared = defaults if defaults.labels else replace(defaults, candidates=names, class_names=numbers)
        for number, values in enumerate(table, start=1):
            place = Place(f"{PREFIX}{name} {part}", number, "row")
            yield from _row(place, {"split": part} | dict(values), declared, f"{part}/{number}")


def _splits(name: str, revision: str) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    from datasets import Features, Image, load_dataset

    try:
        parts = load_dataset(name, revision=revision, streaming=True)
    except Exception as error:  # its loaders raise nearly every exception there is
        first = str(error).partition("\n")[0]
        raise UserError(f"{PREFIX}{name}@{revision} cannot be read: {first}") from error
    for part, table in parts.items():
        features = table.features or {}
        undecoded = {key: Image(decode=False) for key, feature in features.items() if isinstance(feature, Image)}
        yield part, table.cast(Features(features | undecoded)) if features else table, _class_names(features)


def _class_names(features: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the label column's classes, where it has any."""
    from datasets import ClassLabel

    named = (features[key].names for key in (*LABEL, *LABEL_OTHERWISE) if isinstance(features.get(key), ClassLabel))
    return tuple(next(named, ()))


def _row(place: Place, values: Mapping[str, Any], defaults: Defaults, name: str) -> Iterator[Entry]:
    image = values.get("image")
    if not (isinstance(image, Mapping) and isinstance(image.get("bytes"), bytes)):
        yield Problem("image not in the data", place, "image", "the row holds no picture's bytes",
                      "take a revision whose files hold the pictures")  # fmt: skip
        return
    yield from read_record(place, values, defaults, name)
