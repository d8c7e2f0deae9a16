"""A folder of images by class, or by split and class: `train/joy/1.png`. FI and UnBiasedEmo come like this.

Not a walker of links: a folder that is a link is refused. Folders below a class (UnBiasedEmo's objects) belong to it.

    emocaliber data check photos
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from emocaliber.core.samples import FileImage, Sample
from emocaliber.data.records import SPLITS, Given
from emocaliber.data.rows import Found, Place, Problem, Row

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")


def read_folder(root: Path, given: Given) -> Iterator[Found]:
    """A row for each image, a problem for everything else that is not hidden."""
    tops = _folders(root)
    splits = [top for top in tops if top.casefold() in SPLITS]
    if splits and len(splits) < len(tops):
        odd = next(top for top in tops if top not in splits)
        yield Problem("unknown split", Place(str(root / odd)), "", f"{odd!r} stands beside splits and is none",
                      f"name it one of {', '.join(dict(SPLITS))}, or move it into one")  # fmt: skip
    parts = [(root / name, SPLITS[name.casefold()]) for name in splits] or [(root, given.split)]
    classes = sorted({name for part, _ in parts for name in _folders(part)})
    given = given if given.labels else replace(given, candidates=tuple(classes))
    if len(given.labels) < 2:
        yield Problem("too few classes", Place(str(root)), "", f"{len(given.labels)} class folders",
                      "give each class a folder of its own; two or more are needed")  # fmt: skip
        return
    if splits:
        yield from _strays(root, classless=False)
    for part, split in parts:
        yield from _strays(part, classless=True)
        for name in _folders(part):
            yield from _class(root, part / name, split, given)


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith("."))


def _strays(folder: Path, *, classless: bool) -> Iterator[Problem]:
    """Images that stand where no class is. Other files here (a licence, a list) are none of our business."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.is_dir(follow_symlinks=False))
    for name in names:
        if name.casefold().endswith(ENDINGS) and not name.startswith("."):
            level = "a class" if classless else "a split and a class"
            yield Problem("image without a class", Place(str(folder / name)), "", f"it is in no folder of {level}",
                          "move it into one")  # fmt: skip


def _class(root: Path, folder: Path, split: str, given: Given) -> Iterator[Found]:
    label = given.match(folder.name, given.labels)
    if label is None:
        yield Problem("label not among candidates", Place(str(folder)), "", f"{folder.name!r} is not among the labels",
                      f"rename the folder to one of {', '.join(given.labels)}")  # fmt: skip
        return
    empty = True
    for path, is_link in _files(folder):
        empty = False
        yield _row(root, path, label, split, given, is_link)
    if empty:
        yield Problem("empty class", Place(str(folder)), "", "the class has no image", "add some, or remove the folder")


def _row(root: Path, path: Path, label: str, split: str, given: Given, is_link: bool) -> Found:
    place, name = Place(str(path)), path.relative_to(root).as_posix()
    if is_link and path.is_dir():
        return Problem("link to a folder", place, "", "links to folders are not followed", "copy the folder here")
    if not path.name.casefold().endswith(ENDINGS):
        return Problem("not an image file", place, "", f"its name ends in none of {', '.join(ENDINGS)}",
                       "convert it, or take it out of the class")  # fmt: skip
    return Row(place, Sample(name, FileImage(root, name), given.task, given.labels, label, split, "", name,
                             licence=given.licence))  # fmt: skip


def _files(folder: Path) -> Iterator[tuple[Path, bool]]:
    """All files below, in order, and whether each is a link; hidden ones are left out."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        else:
            yield Path(entry.path), entry.is_symlink()
