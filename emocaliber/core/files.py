"""Files: read through gzip and byte-order marks, or as YAML; written in full or not at all; found where they ship.

What keys mean is checked by whoever asked for the file.

    with open_text(Path("rows.csv.gz")) as lines: ...
    write_atomically(Path("scorecard.json"), [content])
    read_mapping(Path("recipes/tiny/1-label.yaml"))      # in a clone as in an installation
"""

from __future__ import annotations

import codecs
import gzip
import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import yaml

import emocaliber
from emocaliber.core.errors import UserError, did_you_mean

GZIP = b"\x1f\x8b"


@contextmanager
def open_text(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes as UTF-8 without a byte-order mark, to be read line by line or with `peek`.

    gzip is unpacked, and UTF-16 with its mark is encoded anew. Raises UserError naming a file that cannot be read.
    """
    try:
        with path.open("rb") as file:
            unpacked = io.BufferedReader(_gzip(file)) if file.peek(2)[:2] == GZIP else file
            yield _without_mark(unpacked)
    except (OSError, EOFError) as problem:
        why = problem.strerror if isinstance(problem, OSError) and problem.strerror else problem
        raise UserError(f"{path} cannot be read: {why}") from None


def write_atomically(path: Path, chunks: Iterable[bytes]) -> None:
    """Replace `path` by these bytes once all are on the disk: they go to a temporary file beside it first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _gzip(file: BinaryIO) -> io.RawIOBase:
    return cast(io.RawIOBase, gzip.GzipFile(fileobj=file))


def _without_mark(file: BinaryIO) -> BinaryIO:
    head = cast(io.BufferedReader, file).peek(3)
    if head.startswith(codecs.BOM_UTF8):
        file.read(len(codecs.BOM_UTF8))
    elif head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return cast(BinaryIO, io.BufferedReader(io.BytesIO(file.read().decode("utf-16").encode())))
    return file


SHIPPED = {"recipes": "recipes", "eval/suites": "suites", "prompts": "prompts"}
"""Folders of a clone, and where the wheel holds them within the package (pyproject.toml, force-include)."""


def read_yaml(path: Path) -> Any:
    """What a YAML file says; a path of the clone that is not here is read from what ships (see `located`).

    Raises UserError naming the file where it cannot be read or is not YAML.
    """
    try:
        return yaml.safe_load(located(path).read_text(encoding="utf-8"))
    except OSError as problem:
        raise UserError(f"{path} cannot be read: {problem.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise UserError(f"{path} is not YAML: {' '.join(str(problem).split())}") from None


def read_mapping(path: Path) -> dict[Any, Any]:
    """A YAML file that is one mapping. Raises UserError naming the file where it is not."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} must be `key: value` lines, is {type(content).__name__}")
    return content


def located(path: Path) -> Path:
    """`path` where it is there; a path of the clone ("recipes/tiny/1-label.yaml") else as it ships with the package."""
    if not path.exists():
        for name in SHIPPED:
            if path.is_relative_to(name) and (beside := shipped_folder(name) / path.relative_to(name)).exists():
                return beside
    return path


def shipped_folder(name: str) -> Path:
    """Where a folder of SHIPPED lies: within an installed package, or beside it in a clone."""
    package = Path(emocaliber.__file__).parent
    inside = package / SHIPPED[name]
    return inside if inside.is_dir() else package.parent / name


def shipped() -> dict[str, Path]:
    """The shipped folders of recipes by name."""
    return {folder.name: folder for folder in sorted(shipped_folder("recipes").iterdir()) if folder.is_dir()}


def copy_recipes(name: str, target: Path) -> list[Path]:
    """Copy a shipped folder of recipes to `target`, which must not exist yet; returns the files.

    Raises UserError where there is no such folder, or something would be overwritten.
    """
    folders = shipped()
    if name not in folders:
        raise UserError(
            f"there are no recipes named {name!r}; choose one of {', '.join(folders)}{did_you_mean(name, folders)}"
        )
    if os.path.lexists(target):
        raise UserError(f"{target} is there already; name a folder that is not")
    shutil.copytree(folders[name], target)
    return sorted(target.iterdir())


def path_text(path: str) -> str:
    """A path as UTF-8 can hold it: other bytes are written as \\xe9, so that names that differ stay apart."""
    with suppress(UnicodeEncodeError):
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    return path.encode("utf-8", "backslashreplace").decode()  # half a character, out of a JSON file
