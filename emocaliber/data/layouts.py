"""Which layout a source has, and its rows: the one way in for every command.

Not a guesser: a layout is recognised by files that only it has, or by the keys of a first line, and can be named.

    emocaliber data check photos --layout folder
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from emocaliber.core.errors import UserError
from emocaliber.core.taxonomy import FERPLUS_8, MIKELS_8, UNBIASEDEMO_6, Taxonomy
from emocaliber.data.conversations import read_swift, read_vecbench
from emocaliber.data.folders import ENDINGS, read_folder
from emocaliber.data.hub import PREFIX, read_hub
from emocaliber.data.published import (
    ABSTRACT_FILE,
    FERPLUS_FILE,
    WEBEMO_LIST,
    read_abstract,
    read_artphoto,
    read_emoset,
    read_ferplus,
    read_webemo,
)
from emocaliber.data.records import Given
from emocaliber.data.rows import Found, Problem
from emocaliber.data.tables import SUFFIXES, read_table, records


@dataclass(frozen=True)
class Layout:
    """A loader, with the taxonomy, task and split that its data set always has (None: as given)."""

    read: Callable[[Path, Given], Iterator[Found]]
    taxonomy: Taxonomy | None = None
    task: str | None = None
    split: str | None = None


LAYOUTS = {
    "folder": Layout(read_folder),
    "table": Layout(read_table),
    "vecbench": Layout(read_vecbench),
    "ms-swift": Layout(read_swift),
    "emoset": Layout(read_emoset, MIKELS_8, "EmoSet-8"),
    "fi": Layout(read_folder, MIKELS_8, "FI-8"),
    "webemo": Layout(read_webemo),
    "artphoto": Layout(read_artphoto, MIKELS_8, "Artphoto-8", "test"),
    "abstract": Layout(read_abstract, MIKELS_8, "Abstract-8", "test"),
    "unbiasedemo": Layout(read_folder, UNBIASEDEMO_6, "UnbiasedEmo-6", "test"),
    "multiemo-bench": Layout(read_table, MIKELS_8, "MultiEmo-8", "test"),
    "ferplus": Layout(read_ferplus, FERPLUS_8, "FERPlus-8"),
}
"""MultiEmo-Bench (20 raters, multi-select) is read as a table with `votes` and `raters`: a reconstruction, for its
files were not at hand."""


@dataclass(frozen=True)
class Source:
    """Where data is, and what the caller says of it: None is what the layout or the data says."""

    name: str
    layout: str | None = None
    root: Path | None = None
    taxonomy: Taxonomy | None = None
    task: str | None = None
    split: str | None = None
    licence: str = ""
    majority: bool = False

    @property
    def path(self) -> Path:
        """The file or folder."""
        return Path(self.name)

    def data_root(self) -> Path:
        """The folder that every image must lie under."""
        return self.root or (self.path if self.path.is_dir() else self.path.parent)

    def rows(self) -> Iterator[Found]:
        """The rows and problems. Raises UserError where there is no such source or its layout cannot be told."""
        given = Given(
            self.data_root(), self.task or "emotion", self.taxonomy, (), self.split or "train", self.licence,
            "majority" if self.majority else "plurality",
        )  # fmt: skip
        if self.name.startswith(PREFIX):
            return read_hub(self.name, given)
        layout = LAYOUTS[self.layout or layout_of(self.path)]
        given = replace(
            given,
            taxonomy=self.taxonomy or layout.taxonomy,
            task=self.task or layout.task or given.task,
            split=self.split or layout.split or given.split,
        )
        return layout.read(self.path, given)


def layout_of(path: Path) -> str:
    """The layout's name. Raises UserError where there is nothing, or nothing that can be told apart."""
    if path.is_dir():
        return _folder_layout(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such file or folder")
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: give a folder, or a file ending in {', '.join(SUFFIXES)}")
    first = next(iter(records(path)), None)
    keys = set() if first is None or isinstance(first, Problem) else set(first[1])
    if "ground_truth" in keys and keys & {"conversations", "other_info"}:
        return "vecbench"
    return "ms-swift" if "messages" in keys else "table"


def _folder_layout(path: Path) -> str:
    names = {one.name for one in path.iterdir()}
    folders = {one.name for one in path.iterdir() if one.is_dir()}
    if {"train.json", "image"} <= names:
        return "emoset"
    if ABSTRACT_FILE in names:
        return "abstract"
    if FERPLUS_FILE in names:
        return "ferplus"
    if any(WEBEMO_LIST.fullmatch(name) for name in names):
        return "webemo"
    images = [name for name in names if name.casefold().endswith(ENDINGS)]
    if not folders and any(name.rpartition("_")[0] in MIKELS_8.labels for name in images):
        return "artphoto"
    if not folders:
        raise UserError(f"{path}: no layout is told by this folder; give a folder for each class, or a table's file")
    return "folder"
