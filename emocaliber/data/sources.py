"""What predictions are wanted for: pictures, folders, globs, tables, Parquet near or far, data sets; labelled or not.

A source is gone through row by row, never held in memory, and as often as needed: once to count its rows and find what
is wrong before a model is loaded, then for its pictures. Of a folder every picture is a row, whatever else lies there.

    source = PredictionSource(("photos",), own_labels=("joy", "anger"))
    rows = source.checked()
    for sample in source.samples(rows.splits): ...
"""

from __future__ import annotations

import glob
import hashlib
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from emocaliber.core.errors import UserError, did_you_mean
from emocaliber.core.samples import FileImage, Sample
from emocaliber.core.taxonomy import TAXONOMIES, Taxonomy
from emocaliber.data.embedded import FILES as EMBEDDED
from emocaliber.data.folders import ENDINGS, files_below, folders_in, kind_by_ending
from emocaliber.data.labels import read_labels
from emocaliber.data.layouts import HUB, Source, layout_of, read_hub
from emocaliber.data.parquet import REQUIRED, iter_samples, stored_rows
from emocaliber.data.records import Defaults, read_record
from emocaliber.data.rows import Entry, Note, Place, Problem, Row
from emocaliber.data.tables import SUFFIXES, gather_labels, is_table_folder, kind_of, records, table_files

REMOTE = ("s3://", "gs://", "gcs://", "file://")
TEST, UNLABELLED, ALL = "test", "unlabelled", "all"
MOST_PROBLEMS = 3
PASSED_OVER = "passed over"
"""The kind of note that counts files."""


@dataclass
class Rows:
    """What a source holds: rows by split, of these labelled, what was passed over, and which rows are meant."""

    count: int | None
    splits: tuple[str, ...] | None
    labelled: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)


class Samples:
    """The rows of a source, gone through from the beginning each time."""

    def __init__(self, source: PredictionSource, splits: tuple[str, ...] | None) -> None:
        self._source, self._splits = source, splits

    def __iter__(self) -> Iterator[Sample]:
        return self._source.samples(self._splits)


@dataclass(frozen=True)
class PredictionSource:
    """`names` are pictures, folders, globs, tables, addresses of Parquet files, or embedded data.

    `labels` declares the labels to choose from (a list or a taxonomy) for every row; where it does not and a row names
    none, they are `own_labels`, or those of the table, where it names others. `split` is which rows are meant: one, or
    "all"; by default those for a test, where the source has any.
    """

    names: tuple[str, ...]
    own_labels: tuple[str, ...]
    labels: str | None = None
    split: str | None = None
    limit: int | None = None

    def checked(self, holds: Callable[[str], bool] = lambda _: True) -> Rows:
        """Go through everything but the pictures, and count the rows whose id `holds`.

        Raises UserError for what is missing, wrong rows, repeated ids, or where nothing is left to ask about.
        """
        self._labels(())  # a wrong --labels is the first thing to say
        if any(name.startswith(HUB) for name in self.names):
            return Rows(None, None if self.split == ALL else (self.split or TEST, UNLABELLED))
        splits, counted, labelled, passed_over = (Counter[str]() for _ in range(4))
        problems, wrong, ids = list[Problem](), 0, array("Q")
        for entry in self._entries(pictures=False):
            if isinstance(entry, Row):
                splits[entry.sample.split] += 1
                ids.append(_hash(entry.sample.id))
                if holds(entry.sample.id):
                    counted[entry.sample.split] += 1
                    labelled[entry.sample.split] += entry.sample.label is not None
            elif isinstance(entry, Problem):
                wrong += 1
                problems += [entry] if wrong <= MOST_PROBLEMS else []
            elif entry.kind == PASSED_OVER:
                passed_over[entry.what] += entry.count
        self._refuse(problems, wrong, sum(splits.values()), passed_over)
        chosen = self._chosen(splits)
        self._refuse_repeated(ids)
        for split in sorted(splits.keys() - set(chosen)):
            passed_over[f"rows of split {split}"] = splits[split]
        count = sum(counted[split] for split in chosen)
        count = count if self.limit is None else min(count, self.limit)
        return Rows(count, chosen, min(count, sum(labelled[split] for split in chosen)), passed_over)

    def samples(self, splits: tuple[str, ...] | None) -> Iterator[Sample]:
        """The rows of these splits (None: all), in order, each with its picture or where it lies.

        Raises UserError as `checked` does.
        """
        left = self.limit
        for entry in self._entries(pictures=True):
            if left == 0:
                return
            if isinstance(entry, Problem):
                raise UserError(str(entry))
            if isinstance(entry, Row) and (splits is None or entry.sample.split in splits):
                left = None if left is None else left - 1
                yield entry.sample

    def _chosen(self, splits: Counter[str]) -> tuple[str, ...]:
        there = ", ".join(sorted(splits))
        if self.split == ALL:
            return tuple(sorted(splits))
        if self.split is not None:
            if self.split not in splits:
                near = did_you_mean(self.split, splits)
                raise UserError(f"{self._shown}: no row has split {self.split!r}; there are {there}{near}")
            return (self.split,)
        for split in (TEST, UNLABELLED):
            if split in splits:
                return (split,)
        raise UserError(f"{self._shown}: its rows are of splits {there}; choose with --split NAME, or --split all")

    @property
    def _shown(self) -> str:
        return self.names[0] + (f" and {len(self.names) - 1} more" if len(self.names) > 1 else "")

    def _refuse(self, problems: list[Problem], wrong: int, rows: int, passed_over: Counter[str]) -> None:
        if problems:
            shown = "".join(f"\n  {problem}" for problem in problems)
            more = f"\n  and {wrong - len(problems):,} more" if wrong > len(problems) else ""
            noun = "problem" if wrong == 1 else "problems"
            raise UserError(
                f"{self._shown}: {wrong:,} {noun}, nothing was asked:{shown}{more}\n  `emocaliber data check"
                f" {self.names[0]}` lists them all, `emocaliber data convert --drop-problems` leaves them out"
            )
        if not rows:
            counted = ", ".join(f"{count:,} {what}" for what, count in passed_over.most_common())
            only = f", only {counted}" if counted else "; it is empty"
            raise UserError(f"{self._shown}: there is no picture in it{only}")

    def _refuse_repeated(self, ids: array[int]) -> None:
        """Ids by hash: a million take 8 MB. Raises UserError naming the two places of the first that comes twice."""
        hashes = np.frombuffer(ids, np.uint64)
        unique, counts = np.unique(hashes, return_counts=True)
        if len(unique) == len(hashes):
            return
        twice, seen = {int(value) for value in unique[counts > 1]}, dict[str, Place]()
        for entry in self._entries(pictures=False):
            if isinstance(entry, Row) and _hash(name := entry.sample.id) in twice:
                if name in seen:
                    raise UserError(f"{entry.place}: id {name!r} is that of {seen[name]} too; give every row its own")
                seen[name] = entry.place

    def _entries(self, *, pictures: bool) -> Iterator[Entry]:
        for name in self.names:
            yield from self._of(name, pictures=pictures)

    def _of(self, name: str, *, pictures: bool) -> Iterator[Entry]:
        path = Path(name)
        if name in EMBEDDED:
            yield from self._stored(EMBEDDED[name], pictures=pictures)
        elif name.startswith(HUB):
            yield from read_hub(name, self._defaults(path, ()))
        elif name.startswith(REMOTE):
            yield from self._remote(name, pictures=pictures)
        elif path.is_dir():
            yield from self._folder(path, pictures=pictures)
        elif path.is_file():
            yield from self._file(path, pictures=pictures)
        elif glob.has_magic(name):
            yield from self._glob(name, pictures=pictures)
        else:
            raise UserError(f"{name}: there is no such file or folder{_near(path)}{_alternatives(name)}")

    def _glob(self, pattern: str, *, pictures: bool) -> Iterator[Entry]:
        matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (Path has no absolute patterns)
        if not matches:
            raise UserError(f"{pattern}: nothing matches; quote the pattern, and write ** for folders in folders")
        others = Counter[str]()
        for path in map(Path, matches):
            kind = kind_by_ending(path)
            if path.is_file() and (kind is None or kind_of(path) in SUFFIXES):
                yield from self._file(path, pictures=pictures)
            elif path.is_file():
                others[str(kind)] += 1
        yield from (Note(PASSED_OVER, Place(pattern), what, count) for what, count in others.items())

    def _file(self, path: Path, *, pictures: bool) -> Iterator[Entry]:
        if kind_of(path) in SUFFIXES:
            yield from self._table(path, pictures=pictures)
        elif kind_by_ending(path) is None:
            yield self._picture(path.parent, path.name, _name(str(path)), None)
        else:
            raise UserError(
                f"{path}: this is neither a picture ({', '.join(ENDINGS)}) nor a table ({', '.join(SUFFIXES)})"
            )

    def _folder(self, root: Path, *, pictures: bool) -> Iterator[Entry]:
        layout = _layout(root)
        if layout == "table":
            yield from self._table(root, pictures=pictures)
        elif layout is not None:
            declared = TAXONOMIES.get(self.labels or "")
            labels = None if declared else self.labels
            yield from Source(str(root), layout, taxonomy=declared, labels=labels).rows()
        else:
            yield from self._pictures(root)

    def _pictures(self, root: Path) -> Iterator[Entry]:
        """Every picture below, in order. Where each folder at the top is one of the labels, it is that of its
        pictures."""
        defaults, labels = self._defaults(root, ()), self._labels(())
        tops = folders_in(root)
        by_class = bool(tops) and all(defaults.match(name, labels) for name in tops)
        prefix = f"{_name(root.as_posix())}/" if len(self.names) > 1 else ""
        passed_over = Counter[str]()
        for path in files_below(root, passed_over):
            if (kind := kind_by_ending(path)) is not None:
                passed_over[kind] += 1
                continue
            relative = path.relative_to(root)
            label = defaults.match(relative.parts[0], labels) if by_class and len(relative.parts) > 1 else None
            yield self._picture(root, relative.as_posix(), prefix + _name(relative.as_posix()), label)
        yield from (Note(PASSED_OVER, Place(str(root)), what, count) for what, count in passed_over.items())

    def _picture(self, root: Path, file: str, name: str, label: str | None) -> Row:
        sample = Sample(name, FileImage(root, file), "emotion", self._labels(()), label, TEST, "", name)
        return Row(Place(str(root / file)), sample)

    def _table(self, path: Path, *, pictures: bool) -> Iterator[Entry]:
        if kind_of(path) == ".parquet" and path.is_file() and set(REQUIRED) <= set(_columns(path)):
            yield from self._stored(path, pictures=pictures)
            return
        layout = layout_of(path) if path.is_file() else "table"
        if layout != "table":
            yield from Source(str(path), layout, split=TEST, labels=self.labels).rows()
            return
        files = tuple(table_files(path))
        named = () if self.labels else _labels_of(files)
        for file in files:
            prefix = file.relative_to(path).with_suffix("").as_posix() if file != path else _name(file.stem)
            defaults = self._defaults(file.parent, named)
            for number, record in enumerate(records(file, pictures=pictures), 1):
                yield from self._record(record, defaults, f"{prefix}/{number}")

    def _record(self, record: tuple[Place, object] | Problem, defaults: Defaults, name: str) -> Iterator[Entry]:
        if isinstance(record, Problem):
            yield record
            return
        place, values = record
        assert isinstance(values, dict)
        if self.labels:
            values = {key: value for key, value in values.items() if key.strip().casefold() != "candidates"}
        yield from read_record(place, values, defaults, name)

    def _stored(self, path: Path, *, pictures: bool) -> Iterator[Entry]:
        """A Parquet file of samples, as `emocaliber data convert` writes it: its rows bring their labels."""
        declared = self._labels(()) if self.labels else None
        for number, sample in enumerate(iter_samples(path, pictures=pictures), 1):
            if declared is not None:
                if sample.label is not None and sample.label not in declared:
                    yield Problem("label not among candidates", Place(str(path), number, "row"), "label",
                                  f"{sample.label!r} is not among --labels", "declare all labels")  # fmt: skip
                sample = replace(sample, candidates=declared)  # noqa: PLW2901
            yield Row(Place(str(path), number, "row"), sample)

    def _remote(self, address: str, *, pictures: bool) -> Iterator[Entry]:
        """Parquet files of an object store, by pyarrow: one file, or all below a folder."""
        from pyarrow import fs

        scheme = address.partition("://")[0]
        try:
            system, root = fs.FileSystem.from_uri(address.replace("gcs://", "gs://", 1))
            below = fs.FileSelector(root, recursive=True)
            listed = [system.get_file_info(root)]
            listed = system.get_file_info(below) if listed[0].type == fs.FileType.Directory else listed
            files = sorted(info.path for info in listed if info.is_file and info.path.endswith(".parquet"))
            if not files:
                raise UserError(f"{address}: there is no Parquet file; other kinds are read from a disk alone")
            for file in files:
                defaults, stem = self._defaults(Path(file).parent, ()), Path(file).stem
                with system.open_input_file(file) as opened:
                    for number, values in stored_rows(Path(file), pictures=pictures, opened=opened):
                        record = (
                            Place(f"{scheme}://{file}", number + 1, "row"),
                            dict(values),
                        )
                        yield from self._record(record, defaults, f"{stem}/{number + 1}")
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{address} cannot be read: {str(error).partition(chr(10))[0]}") from None

    def _defaults(self, root: Path, named: tuple[str, ...]) -> Defaults:
        taxonomy = TAXONOMIES.get(self.labels or "")
        names = read_labels(self.labels)[1] if self.labels and taxonomy is None else {}
        labels = self._labels(named)
        return Defaults(root, taxonomy=taxonomy, candidates=labels, split=TEST, class_names=names, labelled=False)

    def _labels(self, named: tuple[str, ...]) -> tuple[str, ...]:
        """Those declared; else the model's own, unless the data names others."""
        if self.labels:
            return declared_labels(self.labels)
        own = Defaults(Path())
        return self.own_labels if all(own.match(label, self.own_labels) for label in named) else named


def declared_labels(text: str) -> tuple[str, ...]:
    """The labels of `--labels`: a taxonomy's, or a list. Raises UserError for a name that is neither."""
    taxonomy: Taxonomy | None = TAXONOMIES.get(text)
    if taxonomy is not None:
        return taxonomy.labels
    if "," not in text:
        near = did_you_mean(text, TAXONOMIES)
        raise UserError(
            f"--labels: {text!r} is no taxonomy{near or f' ({chr(44).join(TAXONOMIES)})'}, and a list has two labels or"
            " more: --labels joy,anger"
        )
    return read_labels(text)[0]


def _layout(root: Path) -> str | None:
    """The layout of a data set that says so by its files; None for a folder of pictures."""
    if is_table_folder(root):
        return "table"
    try:
        layout = layout_of(root)
    except UserError:
        return None
    return None if layout in ("folder", "artphoto") else layout


@lru_cache(maxsize=64)
def _labels_of(files: tuple[Path, ...]) -> tuple[str, ...]:
    return gather_labels(chain.from_iterable(records(file, values=False) for file in files))[0]


def _columns(path: Path) -> list[str]:
    try:
        return list(pq.read_schema(path).names)
    except (OSError, pa.ArrowException):
        return []  # the reader of its rows says what is wrong


def _name(path: str) -> str:
    """A path as text: bytes that are not UTF-8 become a mark."""
    return os.fsencode(path).decode("utf-8", "replace")


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")


def _near(path: Path) -> str:
    beside: Iterable[Path] = path.parent.iterdir() if path.parent.is_dir() else ()
    return did_you_mean(str(path), [*EMBEDDED, *(str(other) for other in beside)])


def _alternatives(name: str) -> str:
    if "://" in name:
        return "; addresses of Parquet files begin with s3:// or gs://, those of data sets with hub:"
    return f" ({' and '.join(EMBEDDED)} are embedded)" if "/" not in name else ""
