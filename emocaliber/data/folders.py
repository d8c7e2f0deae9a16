"""Folders of images by class, or by split and class (`train/joy/1.png`), as FI and UnBiasedEmo are published.

A folder name that looks like a split, or a folder that contains folders, is reported as a problem instead of being
taken for an emotion, unless the labels are declared (a taxonomy, `--labels`). Links to folders are refused.

    emocaliber data check photos
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from emocaliber.core.samples import FileImage, Sample
from emocaliber.data.labels import class_number, is_no_label
from emocaliber.data.rows import SPLITS, Defaults, Entry, Place, Problem, Row, labels_of

ENDINGS = (".png", ".jpg", ".jpeg", ".jfif", ".mpo", ".webp")
LEFTOVERS = {"__macosx", "@eadir", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information"}
"""Files and folders left behind by archives, file managers and operating systems."""
OTHER_PICTURES = (".heic", ".heif", ".hif", ".avif", ".gif", ".bmp", ".tif", ".tiff", ".dng", ".cr2", ".cr3", ".nef",
                  ".arw", ".raf", ".orf", ".rw2")  # fmt: skip
"""Other image formats. They are rows too; the row's state says so if the image cannot be decoded."""
_TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".m4v", ".3gp", ".mts", ".m2ts", ".mpg", ".mpeg", ".wmv", ".webm")
THUMBNAILS = (".thm", ".thumbnail")
THUMBNAIL_FOLDERS = {"thumbnails", "thumbs", "thumb", "@eadir"}

_PART = (
    "train|training|test|testing|val|valid|validation|dev|devel|eval|evaluation|holdout|(public|private)(test)?"
    "|gallery|probe|session|phase|batch|entrenamiento|prueba|validaci[oó]n|apprentissage|entra[iî]nement|treino|teste"
    "|addestramento|trening|eğitim|обуч\\w*|тест\\w*|训练|訓練|测试|測試|验证|驗證|学習|検証|テスト|학습|훈련|검증|테스트"
)
_SHORT = {"tr", "trn", "te", "tst"}
_HOLDERS = {"image", "images", "img", "imgs", "picture", "pictures", "photo", "photos", "face", "faces", "label",
            "labels", "annotation", "annotations", "mask", "masks", "data", "dataset", "raw", "original", "aligned",
            "cropped"}  # fmt: skip
"""What people call a folder of everything, which is no emotion."""
_SPLIT_NAME = re.compile(
    rf"(.*[^a-z])?({_PART}|fold|cv|split|part|partition|subset)"
    r"[^a-z]*((set|data|dataset|images?|imgs?|pictures?|photos?|faces?|split|part|samples?|folder)[^a-z]*)?([^a-z].*)?"
)


def read_folder(root: Path, defaults: Defaults) -> Iterator[Entry]:
    """A row for each image, and a problem for any other visible file in a class folder."""
    tops = folders_in(root)
    splits = [top for top in tops if top.casefold() in SPLITS]
    if splits and len(splits) < len(tops):
        odd = next(top for top in tops if top not in splits)
        yield Problem("unknown split", Place(str(root / odd)), "", f"{odd!r} stands beside splits and is none",
                      f"name it one of {', '.join(dict(SPLITS))}, or move it into one", droppable=False)  # fmt: skip
    parts = [(root / name, SPLITS[name.casefold()]) for name in splits] or [(root, defaults.split)]
    questions = [question for part, _ in parts for question in _questions(part, defaults, splits)]
    yield from questions
    if questions:
        return
    if not defaults.labels:
        counts = Counter(name for part, _ in parts for name in folders_in(part))
        labels, entries = labels_of(Place(str(root)), counts)
        defaults = replace(defaults, candidates=labels)
        yield from entries
    if len(defaults.labels) < 2:
        yield Problem("too few classes", Place(str(root)), "", f"{len(defaults.labels)} class folders",
                      _inner(root) or "give each class a folder of its own; two or more are needed",
                      droppable=False)  # fmt: skip
        return
    if splits:
        yield from _strays(root, classless=False)
    for part, split in parts:
        yield from _strays(part, classless=True)
        for name in folders_in(part):
            yield from _class(root, part / name, split, defaults)


def _inner(root: Path) -> str:
    """A hint which folder to give instead of one that only wraps the data."""
    tables = [entry.name for entry in os.scandir(root) if entry.name.casefold().endswith(_TABLES)]
    if len(tables) == 1:
        return f"give the table, and the folder of its pictures: {root / tables[0]} --root FOLDER"
    inner = [root / name for name in folders_in(root) if folders_in(root / name)]
    return f"give {inner[0]}, which holds {', '.join(folders_in(inner[0])[:4])}" if len(inner) == 1 else ""


def _questions(part: Path, defaults: Defaults, splits: list[str]) -> Iterator[Problem]:
    """Problems for folders at class level that may not be classes; those named after declared labels are fine."""
    names = folders_in(part)
    wrapper = not splits and len(names) == 1
    for name in names:
        inside = folders_in(part / name)
        place = Place(str(part / name))
        if below := next((folder for folder in inside if not wrapper and looks_like_split(folder)), None):
            yield Problem("split or label?", place, "", f"{name!r} holds {below!r}, which looks like a split: is"
                          f" {name!r} a label?", f"move its pictures to {_meant(below)}/{name}; of a split and its"
                          f" parts, name the split to one of {', '.join(dict(SPLITS))}", droppable=False)  # fmt: skip
            continue
        if defaults.match(name, defaults.labels) is not None or wrapper:
            continue
        if name.casefold() in _HOLDERS and not inside:
            yield Problem("split or label?", place, "", f"{name!r} is what people call a folder of everything: is it a"
                          " label?", "give each label a folder; or declare the labels with --labels",
                          droppable=False)  # fmt: skip
        elif looks_like_split(name):
            yield Problem("split or label?", place, "", f"{name!r} looks like a split, and stands where labels do",
                          f"rename it to {_meant(name)}, or declare the labels with --labels",
                          droppable=False)  # fmt: skip
        elif inside and not defaults.labels:
            shown = ", ".join(repr(folder) for folder in inside[:4])
            yield Problem("split or label?", place, "", f"{name!r} holds folders ({shown}): is it a split, or a label?",
                          "rename splits to train, val and test; or declare the labels: --labels joy,fear,...",
                          droppable=False)  # fmt: skip
        elif class_number(name) is not None:
            yield Problem("class number without a name", place, "", f"{name!r} is a class number, and nothing names it",
                          "name the classes: --labels 1=surprise,2=fear,...", droppable=False)  # fmt: skip
        elif is_no_label(name):
            yield Problem("no label", place, "", f"{name!r} says that the label is missing",
                          "move its pictures to a folder `unlabelled` beside train and test; if it is a label, declare"
                          " all: --labels", droppable=False)  # fmt: skip


def looks_like_split(name: str) -> bool:
    """Whether a folder is named like a split of a data set: train_set, val2017, TestData, fold1."""
    return name.casefold() in _SHORT or _SPLIT_NAME.fullmatch(name.casefold()) is not None


def _meant(name: str) -> str:
    meanings = {"train": "train", "va": "val", "dev": "val", "public": "val", "test": "test", "private": "test"}
    return next((meant for part, meant in meanings.items() if part in name.casefold()), "train, val or test")


def folders_in(folder: Path) -> list[str]:
    """The names of the subfolders, sorted, without hidden ones and leftovers."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir(follow_symlinks=False) and not is_left_over(e.name))


def is_left_over(name: str) -> bool:
    """Whether a file or folder is hidden, or in LEFTOVERS."""
    return name.startswith(".") or name.casefold() in LEFTOVERS


def _strays(folder: Path, *, classless: bool) -> Iterator[Problem]:
    """Problems for images outside any class folder. Other files there (a licence, a list) are ignored."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.is_dir(follow_symlinks=False))
    for name in names:
        if name.casefold().endswith(ENDINGS) and not is_left_over(name):
            level = "a class" if classless else "a split and a class"
            yield Problem("image without a class", Place(str(folder / name)), "", f"it is in no folder of {level}",
                          "move it into one")  # fmt: skip


def _class(root: Path, folder: Path, split: str, defaults: Defaults) -> Iterator[Entry]:
    label = defaults.match(folder.name, defaults.labels)
    if label is None:
        yield Problem("label not among candidates", Place(str(folder)), "", f"{folder.name!r} is not among the labels",
                      f"rename the folder to one of {', '.join(defaults.labels)}", droppable=False)  # fmt: skip
        return
    empty = True
    for path, is_link in _files(folder):
        empty = False
        yield _row(root, path, label, split, defaults, is_link)
    if empty:
        yield Problem("empty class", Place(str(folder)), "", "the class has no image", "add some, or remove the folder")


def _row(root: Path, path: Path, label: str, split: str, defaults: Defaults, is_link: bool) -> Entry:
    place, name = Place(str(path)), path.relative_to(root).as_posix()
    if is_link and path.is_dir():
        return Problem("link to a folder", place, "", "links to folders are not followed", "copy the folder here")
    if not path.name.casefold().endswith(ENDINGS):
        return Problem("not an image file", place, "", f"its name ends in none of {', '.join(ENDINGS)}",
                       "convert it, or take it out of the class")  # fmt: skip
    return Row(place, Sample(name, FileImage(root, name), defaults.task, defaults.labels, label, split, "", name,
                             licence=defaults.licence))  # fmt: skip


def _files(folder: Path) -> Iterator[tuple[Path, bool]]:
    """All files below, in order, with whether each is a link; without hidden files and leftovers."""
    with os.scandir(folder) as entries:
        inside = sorted(entries, key=lambda entry: entry.name)
    for entry in inside:
        if is_left_over(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        else:
            yield Path(entry.path), entry.is_symlink()


def files_below(folder: Path, passed_over: Counter[str]) -> Iterator[Path]:
    """All files below, in order. Hidden files, leftovers, links to folders and unreadable subfolders are skipped and
    counted in `passed_over`. Raises OSError if `folder` itself cannot be read."""
    yield from _below(_inside(folder), passed_over)


def _inside(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _below(inside: list[os.DirEntry[str]], passed_over: Counter[str]) -> Iterator[Path]:
    for entry in inside:
        if entry.name.casefold() in THUMBNAIL_FOLDERS and entry.is_dir(follow_symlinks=False):
            passed_over["thumbnails"] += _size(entry.path)
        elif is_left_over(entry.name):
            passed_over["hidden files and leftovers"] += _size(entry.path) if entry.is_dir(follow_symlinks=False) else 1
        elif entry.is_dir(follow_symlinks=False):
            try:
                within = _inside(Path(entry.path))
            except OSError:
                passed_over["folders that cannot be read"] += 1
                continue
            yield from _below(within, passed_over)
        elif entry.is_symlink() and Path(entry.path).is_dir():  # the entry's own is_dir fails for a link to itself
            passed_over["links to folders"] += 1
        else:
            yield Path(entry.path)


def _size(folder: str) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def kind_by_ending(path: Path) -> str | None:
    """The kind under which a file that is not an image is counted, by its ending; None for an image."""
    ending = path.suffix.casefold()
    if ending in ENDINGS or ending in OTHER_PICTURES:
        return None
    return "videos" if ending in VIDEOS else "thumbnails" if ending in THUMBNAILS else "other files"
