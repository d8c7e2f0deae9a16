"""The rows of any source that a user names: an image, a folder, a glob, a table, remote Parquet files, or a data set.

In a folder every image is a row; other files are counted and skipped. Rows are streamed.

    for entry in AnySource(("photos",), own_labels=("joy", "anger")).entries(pictures=True): ...
"""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from emocaliber.core.errors import UserError, did_you_mean
from emocaliber.core.files import utf8_path
from emocaliber.core.samples import FileImage, Sample
from emocaliber.core.taxonomy import TAXONOMIES, Taxonomy
from emocaliber.data.archives import is_archive, unpacked
from emocaliber.data.class_names import named_classes
from emocaliber.data.embedded import FILES as EMBEDDED
from emocaliber.data.folders import ENDINGS, files_below, folders_in, kind_by_ending
from emocaliber.data.labels import read_labels
from emocaliber.data.layouts import HUB, Source, holding_data, layout_of, read_hub
from emocaliber.data.parquet import REQUIRED, iter_samples
from emocaliber.data.parquet_parts import stored_rows
from emocaliber.data.records import read_record
from emocaliber.data.rows import Defaults, Entry, Note, Place, Problem, Row
from emocaliber.data.tables import (
    SUFFIXES,
    gather_tasks,
    is_table_folder,
    kind_of,
    no_image_column,
    records,
    table_files,
    task_of,
)

REMOTE = ("s3://", "gs://", "gcs://", "file://")
TEST = "test"
PASSED_OVER = "passed over"
"""The kind of notes that count skipped files."""


@dataclass(frozen=True)
class AnySource:
    """`names` are images, folders, globs, tables, URLs of Parquet files, or embedded data.

    `labels` (a list or a taxonomy) declares the labels to choose from for every row. Without it, rows that list no
    candidates use the model's `own_labels`, or the labels of their table if it contains others.
    """

    names: tuple[str, ...]
    own_labels: tuple[str, ...]
    labels: str | None = None

    def entries(self, *, pictures: bool) -> Iterator[Entry]:
        """Rows, problems, and notes that count skipped files. With `pictures`, rows of Parquet files include the image
        bytes, for one sequential pass."""
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
        elif is_archive(path):
            held = holding_data(unpacked(path))
            yield from (self._folder if held.is_dir() else self._file)(held, pictures=pictures)
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
            yield self._picture(path.parent, path.name, utf8_path(str(path)), None)
        else:
            raise UserError(
                f"{path}: this is neither a picture ({', '.join(ENDINGS)}) nor a table ({', '.join(SUFFIXES)})"
            )

    def _folder(self, root: Path, *, pictures: bool) -> Iterator[Entry]:
        try:
            layout, tops = _layout(root), folders_in(root)
        except OSError as error:
            raise UserError(f"{root}: cannot be read ({error.strerror})") from None
        if layout == "table":
            yield from self._table(root, pictures=pictures)
        elif layout is not None:
            declared = TAXONOMIES.get(self.labels or "")
            labels = None if declared else self.labels
            yield from Source(str(root), layout, taxonomy=declared, labels=labels).rows()
        else:
            yield from self._pictures(root, tops)

    def _pictures(self, root: Path, tops: list[str]) -> Iterator[Entry]:
        """Every image below `root`, in order. If every top-level folder (`tops`) is named after a label, it is the
        label of its images."""
        defaults, labels = self._defaults(root, ()), self.label_names(())
        by_class = bool(tops) and all(defaults.match(name, labels) for name in tops)
        prefix = f"{utf8_path(root.as_posix())}/" if len(self.names) > 1 else ""
        passed_over = Counter[str]()
        for path in files_below(root, passed_over):
            if (kind := kind_by_ending(path)) is not None:
                passed_over[kind] += 1
                continue
            relative = path.relative_to(root)
            label = defaults.match(relative.parts[0], labels) if by_class and len(relative.parts) > 1 else None
            yield self._picture(root, relative.as_posix(), prefix + utf8_path(relative.as_posix()), label)
        yield from (Note(PASSED_OVER, Place(str(root)), what, count) for what, count in passed_over.items())

    def _picture(self, root: Path, file: str, name: str, label: str | None) -> Row:
        sample = Sample(name, FileImage(root, file), "emotion", self.label_names(()), label, TEST, "", name)
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
        classes, numbers, entries = ((), {}, []) if self.labels else named_classes(files)
        yield from entries
        tasks = {} if self.labels or classes else _labels_of(files)
        for file in files:
            prefix = file.relative_to(path).with_suffix("").as_posix() if file != path else utf8_path(file.stem)
            by_task: dict[str, Defaults] = {}
            for number, record in enumerate(records(file, pictures=pictures), 1):
                if number == 1 and isinstance(record, tuple) and (problem := no_image_column(file, record[1])):
                    yield problem
                    break
                task = task_of(record[1]) if isinstance(record, tuple) else ""
                if task not in by_task:
                    defaults = self._defaults(file.parent, tasks.get(task, classes))
                    names = numbers.get(file)
                    by_task[task] = replace(defaults, class_names=names) if names else defaults
                yield from self._record(record, by_task[task], f"{prefix}/{number}")

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
        """The rows of a Parquet file of samples, as written by `emocaliber data convert`."""
        declared = self.label_names(()) if self.labels else None
        for number, sample in enumerate(iter_samples(path, pictures=pictures), 1):
            if declared is not None:
                if sample.label is not None and sample.label not in declared:
                    yield Problem("label not among candidates", Place(str(path), number, "row"), "label",
                                  f"{sample.label!r} is not among --labels", "declare all labels")  # fmt: skip
                sample = replace(sample, candidates=declared)  # noqa: PLW2901
            yield Row(Place(str(path), number, "row"), sample)

    def _remote(self, address: str, *, pictures: bool) -> Iterator[Entry]:
        """Parquet files in an object store, read with pyarrow: one file, or all files below a folder."""
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
        labels = self.label_names(named)
        return Defaults(root, taxonomy=taxonomy, candidates=labels, split=TEST, class_names=names, labelled=False)

    def label_names(self, named: tuple[str, ...]) -> tuple[str, ...]:
        """The declared labels; else the model's own, unless the data has others. Raises UserError for an invalid
        declaration."""
        if self.labels:
            return declared_labels(self.labels)
        own = Defaults(Path())
        return self.own_labels if all(own.match(label, self.own_labels) for label in named) else named


def declared_labels(text: str) -> tuple[str, ...]:
    """The labels of `--labels`, a taxonomy or a list. Raises UserError for a name that is neither."""
    taxonomy: Taxonomy | None = TAXONOMIES.get(text)
    if taxonomy is not None:
        return taxonomy.labels
    if "," not in text:
        near = did_you_mean(text, TAXONOMIES)
        raise UserError(
            f"--labels: {text!r} is not a taxonomy{near or f' ({chr(44).join(TAXONOMIES)})'}, and a list needs two"
            " labels or more: --labels joy,anger"
        )
    return read_labels(text)[0]


def _layout(root: Path) -> str | None:
    """The layout recognised by the folder's files; None for a plain folder of images."""
    if is_table_folder(root):
        return "table"
    try:
        layout = layout_of(root)
    except UserError:
        return None
    return None if layout in ("folder", "artphoto") else layout


@lru_cache(maxsize=64)
def _labels_of(files: tuple[Path, ...]) -> dict[str, tuple[str, ...]]:
    return gather_tasks(Place(""), chain.from_iterable(records(file, values=False) for file in files))[0]


def _columns(path: Path) -> list[str]:
    try:
        return list(pq.read_schema(path).names)
    except (OSError, pa.ArrowException):
        return []  # the reader of its rows says what is wrong


def _near(path: Path) -> str:
    beside: Iterable[Path] = path.parent.iterdir() if path.parent.is_dir() else ()
    return did_you_mean(str(path), [*EMBEDDED, *(str(other) for other in beside)])


def _alternatives(name: str) -> str:
    if "://" in name:
        return "; addresses of Parquet files begin with s3:// or gs://, those of data sets with hub:"
    return f" ({' and '.join(EMBEDDED)} are embedded)" if "/" not in name else ""
