"""The names of class numbers: from a Parquet file's schema, as Hugging Face datasets writes it, or from its card.

The files of a data set need not number their classes alike, so each file's numbers are named by that file.

    labels, by_file, entries = named_classes([Path("data/train-00000-of-00001.parquet")])
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from emocaliber.data.labels import class_number, fold, is_missing
from emocaliber.data.rows import LABEL, LABEL_OTHERWISE, Entry, Note, Place, Problem, column_name

Numbers = Mapping[str, str]
DECLARABLE = {"none", "unknown"}
"""Texts for "missing" that are a class where the class names list them. The others are what a conversion left."""


def named_classes(files: Sequence[Path]) -> tuple[tuple[str, ...], dict[Path, Numbers], list[Entry]]:
    """The labels, the names of each file's class numbers, and the notes and problems about them; no labels if the
    files name none."""
    labels: tuple[str, ...] = ()
    by_file: dict[Path, Numbers] = {}
    entries: list[Entry] = []
    for file in files:
        names = _names_in(file)
        found, by_file[file], twins = numbered(names)
        labels = labels or found
        entries += [Note("spellings of one label", Place(str(file)), twin) for twin in twins]
        if found and {*map(fold, found)} != {*map(fold, labels)}:
            odd = sorted({*found} ^ {*labels})
            entries.append(Problem("labels differ between files", Place(str(file)), "label", f"{odd[0]!r} is a class of"
                                   f" one of {files[0].name} and {file.name} alone", "name all labels with --labels",
                                   droppable=False))  # fmt: skip
    return labels, by_file, entries


def numbered(names: Sequence[str]) -> tuple[tuple[str, ...], Numbers, list[str]]:
    """The labels of class names, the name of each number, and a sentence for each name that is another's spelling.

    Names that are numbers themselves name nothing; what means "missing" keeps its number, and is no label.
    """
    if all(class_number(name) is not None for name in names):
        return (), {}, []
    chosen: dict[str, str] = {}
    sentences = []
    for number, name in enumerate(names):
        if (first := chosen.setdefault(fold(name), name)) != name:
            sentences.append(f"class {number}, {name!r}, is read as {first!r}")
    named = {str(number): chosen[fold(name)] for number, name in enumerate(names)}
    labels = tuple(label for label in chosen.values() if not is_missing(label) or fold(label) in DECLARABLE)
    return labels, named, sentences


def _names_in(path: Path) -> tuple[str, ...]:
    """The class names of a Parquet file's label column; empty if there are none."""
    if path.suffix.casefold() != ".parquet":
        return ()
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException):
        return ()  # the reader of its rows says what is wrong
    columns = [name for name in schema.names if column_name(name) in (*LABEL, *LABEL_OTHERWISE)]
    return _class_names(columns, schema.metadata, path.parent)


def _class_names(columns: Iterable[str], metadata: Mapping[bytes, bytes] | None, folder: Path) -> tuple[str, ...]:
    described = _features((metadata or {}).get(b"huggingface", b"{}"))
    described = described or next((features for at in (folder, folder.parent) if (features := _card(at))), {})
    return next((tuple(map(str, names)) for column in columns if (names := _names_of(described.get(column)))), ())


def _features(text: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(text)["info"]["features"])
    except (ValueError, LookupError, TypeError):
        return {}  # another tool's metadata


def _names_of(feature: Any) -> list[Any] | None:
    """The names of a class, of a list of them (in each form that datasets has written), or of a struct's only field."""
    if isinstance(feature, list) and len(feature) == 1:
        return _names_of(feature[0])
    if not isinstance(feature, Mapping):
        return None
    if isinstance(feature.get("names"), list):
        return list(feature["names"])
    inner = [value for key, value in feature.items() if key not in ("_type", "length")]
    return _names_of(inner[0]) if len(inner) == 1 else None


def _card(folder: Path) -> dict[str, Any]:
    """The features described in a data set's card or infos, with `names` for classes."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
        card = yaml.safe_load(text.split("---")[1]) if text.startswith("---") else {}
        info = card.get("dataset_info") or {}
        info = info[0] if isinstance(info, list) else info
        features = {part["name"]: {"names": _ordered(part)} for part in info.get("features", ())}
        if any(feature["names"] for feature in features.values()):
            return features
    except (OSError, ValueError, LookupError, AttributeError, TypeError, yaml.YAMLError):
        pass  # no card, or one that describes no features in this form
    try:
        infos = json.loads((folder / "dataset_infos.json").read_text(encoding="utf-8"))
        return dict(next(iter(infos.values()))["features"])
    except (OSError, ValueError, LookupError, AttributeError, TypeError, StopIteration):
        return {}


def _ordered(feature: Any) -> list[str] | None:
    """The names of `dtype: {class_label: {names: {'0': joy, '1': fear}}}`, in the order of their numbers; a list of
    classes has `sequence` or `list` for `dtype`."""
    if not isinstance(feature, Mapping):
        return None
    inner: dict[str, Any] = next(
        (feature[key] for key in ("dtype", "sequence", "list") if isinstance(feature.get(key), dict)), {}
    )
    names = inner.get("class_label", {}).get("names") if "class_label" in inner else _ordered(inner) if inner else None
    if isinstance(names, dict):
        return [str(names[key]) for key in sorted(names, key=int)]
    return names if isinstance(names, list) else None
