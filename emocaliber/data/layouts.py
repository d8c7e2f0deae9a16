"""Sources: recognising a data set's layout and reading its rows. Every command reads data through this module.

A layout is recognised by characteristic files or by the keys of the first record, or given by name. A Hugging Face data
set is read by name and revision, or from a local folder; its code is not run, and only images stored as bytes are read.

    emocaliber data check photos --layout folder
    emocaliber data check hub:someone/emotions@4f5e...
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from emocaliber.core.errors import UserError
from emocaliber.core.taxonomy import EMOTION6_7, FER2013_7, FERPLUS_8, MIKELS_8, UNBIASEDEMO_6, Taxonomy
from emocaliber.data.archives import is_archive, unpacked
from emocaliber.data.class_names import numbered
from emocaliber.data.conversations import conversation_files, layout_of_record, read_conversations, read_vecbench
from emocaliber.data.folders import ENDINGS, read_folder
from emocaliber.data.labels import read_labels
from emocaliber.data.published import (
    ABSTRACT_FILE,
    EMOTION6_FILE,
    FERPLUS_FILE,
    WEBEMO_LIST,
    read_abstract,
    read_artphoto,
    read_emoset,
    read_emotion6,
    read_ferplus,
    read_webemo,
)
from emocaliber.data.questions import EEMO_FILE, MVEI_FILE, read_eemo_bench, read_mvei
from emocaliber.data.records import read_record
from emocaliber.data.rows import LABEL, LABEL_OTHERWISE, SPLITS, Defaults, Entry, Place, Problem, Row
from emocaliber.data.tables import SUFFIXES, is_table_folder, kind_of, read_table, records
from emocaliber.data.webdataset import holds_records, read_webdataset

ARCHIVES = (".7z", ".rar", ".zst", ".lz4", ".bz2", ".xz")


@dataclass(frozen=True)
class Layout:
    """A loader, with the fixed taxonomy, task and split of its data set (None: as the caller says). `numbered`: class
    numbers are positions in the taxonomy."""

    read: Callable[[Path, Defaults], Iterator[Entry]]
    taxonomy: Taxonomy | None = None
    task: str | None = None
    split: str | None = None
    numbered: bool = False


LAYOUTS = {
    "folder": Layout(read_folder),
    "table": Layout(read_table),
    "vecbench": Layout(read_vecbench),
    "ms-swift": Layout(read_conversations),
    "trl": Layout(read_conversations),
    "llava": Layout(read_conversations),
    "sharegpt": Layout(read_conversations),
    "alpaca": Layout(read_conversations),
    "emoset": Layout(read_emoset, MIKELS_8, "EmoSet-8"),
    "fi": Layout(read_folder, MIKELS_8, "FI-8"),
    "webemo": Layout(read_webemo),
    "artphoto": Layout(read_artphoto, MIKELS_8, "Artphoto-8", "test"),
    "abstract": Layout(read_abstract, MIKELS_8, "Abstract-8", "test"),
    "unbiasedemo": Layout(read_folder, UNBIASEDEMO_6, "UnbiasedEmo-6", "test"),
    "multiemo-bench": Layout(read_table, MIKELS_8, "MultiEmo-8", "test"),
    "emotion6": Layout(read_emotion6, EMOTION6_7, "Emotion6-7"),
    "fer2013": Layout(read_table, FER2013_7, "FER2013-7", numbered=True),
    "ferplus": Layout(read_ferplus, FERPLUS_8, "FERPlus-8"),
    "webdataset": Layout(read_webdataset),
    "mvei": Layout(read_mvei, task="MVEI", split="test"),
    "eemo-bench": Layout(read_eemo_bench, split="test"),
}
"""MultiEmo-Bench (20 raters, multi-select) is read as a table with `votes` and `raters`. This is a reconstruction,
because its files were not available."""


@dataclass(frozen=True)
class Source:
    """A data set's location, and what the caller declares about it (None: as the layout or the data says).

    `labels` declares the labels, as in `joy,fear` or `1=joy,2=fear`. With `two_panels`, several rows with the same
    image are treated as panels of raters (see policy), and FER+ is read with the votes of each file. `more` are further
    files or folders, read after this one.
    """

    name: str
    layout: str | None = None
    root: Path | None = None
    taxonomy: Taxonomy | None = None
    task: str | None = None
    split: str | None = None
    licence: str = ""
    majority: bool = False
    labels: str | None = None
    two_panels: bool = False
    more: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The source's name in messages."""
        return ", ".join((self.name, *self.more))

    @property
    def path(self) -> Path:
        """The file or folder; for an archive, its unpacked content."""
        path = Path(self.name)
        return (unpacked(path) if self.layout else holding_data(unpacked(path))) if is_archive(path) else path

    def data_root(self) -> Path:
        """The folder that every image must lie under."""
        path = self.path
        return self.root or (path if path.is_dir() else path.parent)

    def rows(self) -> Iterator[Entry]:
        """The rows, problems and notes. Raises UserError if the source does not exist or its layout is not"
        " recognised."""
        if self.more:
            return self._several()
        defaults = Defaults(
            self.data_root(), self.task or "emotion", self.taxonomy, (), self.split or "train", self.licence,
            "majority" if self.majority else "plurality", two_panels=self.two_panels,
        )  # fmt: skip
        hub = self.name.startswith(HUB)
        layout = Layout(read_table) if hub else LAYOUTS[self.layout or layout_of(self.path)]
        taxonomy = self.taxonomy or layout.taxonomy
        names = {str(n): label for n, label in enumerate(taxonomy.labels)} if taxonomy and layout.numbered else {}
        defaults = replace(
            defaults,
            taxonomy=taxonomy,
            task=self.task or layout.task or defaults.task,
            split=self.split or layout.split or defaults.split,
            class_names=names,
        )
        if self.labels:
            labels, names = read_labels(self.labels)
            defaults = replace(defaults, taxonomy=None, candidates=labels, class_names=names)
        return read_hub(self.name, defaults) if hub else layout.read(self.path, defaults)

    def _several(self) -> Iterator[Entry]:
        """The rows of each file in turn. If neither rows nor caller name a split, it is the first word of the file
        name.

        Labels that occur in only some of the files are a problem, because no file then lists all of them.
        """
        labels: dict[str, tuple[str, set[str]]] = {}
        for name in (self.name, *self.more):
            compared = set[str]()
            split = self.split or SPLITS.get(re.split(r"[-_.]", Path(name).name)[0].casefold())
            for entry in replace(self, name=name, more=(), split=split).rows():
                if isinstance(entry, Row) and entry.sample.task not in compared:
                    compared.add(task := entry.sample.task)
                    first, known = labels.setdefault(task, (name, set(entry.sample.candidates)))
                    if odd := sorted(known ^ set(entry.sample.candidates)):
                        yield Problem("labels differ between files", entry.place, "label", f"{odd[0]!r} is a label of"
                                      f" task {task} in one of {first} and {name} alone",
                                      "name all labels with --labels or --taxonomy", droppable=False)  # fmt: skip
                yield entry


def layout_of(path: Path) -> str:
    """The name of the layout. Raises UserError if the path does not exist or its layout is not recognised."""
    if path.is_dir():
        return _folder_layout(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such file or folder")
    if kind_of(path) in ARCHIVES:
        raise UserError(f"{path}: only zip, tar and .gz are unpacked here; unpack it, and give what is in it")
    if path.name == FERPLUS_FILE:
        raise UserError(f"{path}: these are the votes of FER+; give the folder that holds them and FER2013Train")
    if kind_of(path) not in SUFFIXES:
        raise UserError(f"{path}: give a folder, or a file ending in {', '.join(SUFFIXES)}")
    first = next(iter(records(path)), None)
    values = {} if first is None or isinstance(first, Problem) else first[1]
    if {"emotion", "pixels"} <= {key.strip().casefold() for key in values}:
        return "fer2013"
    return layout_of_record(values) or "table"


def holding_data(folder: Path) -> Path:
    """The folder of an archive's content, or the table in it if there is exactly one beside its images."""
    tables = [path for path in folder.iterdir() if kind_of(path) in SUFFIXES] if folder.is_dir() else []
    if len(tables) != 1:
        return folder
    try:
        return tables[0] if layout_of(folder) == "folder" else folder
    except UserError:
        return tables[0]


def _folder_layout(path: Path) -> str:
    names = {entry.name for entry in path.iterdir()}
    folders = {entry.name for entry in path.iterdir() if entry.is_dir()}
    images = [name for name in names if name.casefold().endswith(ENDINGS)]
    recognised = {
        "emoset": {"train.json", "image"} <= names,
        "abstract": ABSTRACT_FILE in names,
        "ferplus": FERPLUS_FILE in names,
        "mvei": MVEI_FILE in names,
        "eemo-bench": any(EEMO_FILE.fullmatch(name) for name in names),
        "emotion6": {EMOTION6_FILE, "images"} <= names,
        "webemo": any(WEBEMO_LIST.fullmatch(name) for name in names),
        "table": is_table_folder(path),
        "vecbench": _holds_vecbench(path, names),
        "artphoto": not folders and any(name.rpartition("_")[0] in MIKELS_8.labels for name in images),
    }
    layout = next((name for name, is_it in recognised.items() if is_it), None)
    if layout in (None, "table") and (talks := _conversations(path)):
        return talks
    if layout:
        return layout
    if holds_records(path):
        return "webdataset"
    if not folders:
        files = sorted(name for name in names if kind_of(path / name) in SUFFIXES or is_archive(path / name))
        table = f"a table such as {path / files[0]}" if files else "a table"
        raise UserError(f"{path}: this folder fits no layout; give a folder with one folder per class, or {table}")
    return "folder"


def _conversations(path: Path) -> str | None:
    """The layout of a folder whose files are conversations of one form; None for any other folder."""
    found = {layout_of_record(record[1]) if isinstance(record, tuple) else None
             for file in conversation_files(path) for record in islice(records(file), 1)}  # fmt: skip
    return found.pop() if len(found) == 1 else None


def _holds_vecbench(path: Path, names: set[str]) -> bool:
    lists = sorted(name for name in names if name.endswith((".jsonl", ".json")))
    return bool(lists) and all(layout_of(path / name) == "vecbench" for name in lists)


HUB = "hub:"


def read_hub(source: str, defaults: Defaults) -> Iterator[Entry]:
    """The rows of every split of a Hub data set. Needs the package `datasets` (extra `train`).

    Raises UserError if no revision is given or the data set cannot be loaded.
    """
    name, _, revision = source.removeprefix(HUB).rpartition("@")
    if not name:
        raise UserError(f"{source}: name a revision, as in {HUB}OWNER/NAME@REVISION, so that it can be read again")
    for part, table, names in _hub_splits(name, revision):
        labels, numbers, _ = numbered(names)
        declared = defaults if defaults.labels else replace(defaults, candidates=labels, class_names=numbers)
        for number, values in enumerate(table, start=1):
            place = Place(f"{HUB}{name} {part}", number, "row")
            yield from _hub_row(place, {"split": part} | dict(values), declared, f"{part}/{number}")


def _hub_splits(name: str, revision: str) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    from datasets import Features, Image, load_dataset

    try:
        parts = load_dataset(name, revision=revision, streaming=True)
    except Exception as error:  # its loaders raise nearly every exception there is
        first = str(error).partition("\n")[0]
        raise UserError(f"{HUB}{name}@{revision} cannot be read: {first}") from error
    for part, table in parts.items():
        features = table.features or {}
        undecoded = {key: Image(decode=False) for key, feature in features.items() if isinstance(feature, Image)}
        yield part, table.cast(Features(features | undecoded)) if features else table, _hub_classes(features)


def _hub_classes(features: Mapping[str, Any]) -> tuple[str, ...]:
    """The class names of the label column, if it has any."""
    from datasets import ClassLabel

    named = (features[key].names for key in (*LABEL, *LABEL_OTHERWISE) if isinstance(features.get(key), ClassLabel))
    return tuple(next(named, ()))


def _hub_row(place: Place, values: Mapping[str, Any], defaults: Defaults, name: str) -> Iterator[Entry]:
    image = values.get("image")
    if not (isinstance(image, Mapping) and isinstance(image.get("bytes"), bytes)):
        yield Problem("image not in the data", place, "image", "the row holds no picture's bytes",
                      "take a revision whose files hold the pictures")  # fmt: skip
        return
    yield from read_record(place, values, defaults, name)
