"""Files: transparent gzip and byte-order marks, YAML, atomic writes, and lookup of the files that ship with the
package.

Callers validate the keys of the YAML that they read.

    with open_utf8(Path("rows.csv.gz")) as lines: ...
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
def open_utf8(path: Path) -> Iterator[BinaryIO]:
    """Open a text file as a stream of UTF-8 bytes without a byte-order mark; it supports iteration and `peek`.

    gzip is decompressed, and UTF-16 with a byte-order mark is re-encoded. Raises UserError naming the file if it cannot
    be read.
    """
    try:
        with path.open("rb") as file:
            decompressed = io.BufferedReader(_gzip(file)) if file.peek(2)[:2] == GZIP else file
            yield _without_mark(decompressed)
    except (OSError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"{path} cannot be read: {reason}") from None


def write_atomically(path: Path, chunks: Iterable[bytes]) -> None:
    """Write the bytes to a temporary file beside `path`, flush it to disk, and rename it to `path`."""
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
"""Folders of the repository, and where the wheel keeps them inside the package (pyproject.toml, force-include)."""


def read_yaml(path: Path) -> Any:
    """The content of a YAML file. A repository path that does not exist is read from the package (`resolve_shipped`).

    Raises UserError naming the file if it cannot be read or is not YAML.
    """
    try:
        return yaml.safe_load(resolve_shipped(path).read_text(encoding="utf-8"))
    except OSError as problem:
        raise UserError(f"{path} cannot be read: {problem.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise UserError(f"{path} is not YAML: {' '.join(str(problem).split())}") from None


def read_mapping(path: Path) -> dict[Any, Any]:
    """The content of a YAML file whose top level is a mapping. Raises UserError naming the file if it is not."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        kind = "empty" if content is None else f"a {type(content).__name__}"
        raise UserError(f"{path} must be `key: value` lines, but is {kind}")
    return content


def resolve_shipped(path: Path) -> Path:
    """`path` itself if it exists; else, for a repository path such as "recipes/tiny/1-label.yaml", the shipped file."""
    if not path.exists():
        for name in SHIPPED:
            if path.is_relative_to(name) and (shipped := shipped_folder(name) / path.relative_to(name)).exists():
                return shipped
    return path


def shipped_folder(name: str) -> Path:
    """The location of a folder in SHIPPED: inside an installed package, or beside the package in a clone."""
    package = Path(emocaliber.__file__).parent
    installed = package / SHIPPED[name]
    return installed if installed.is_dir() else package.parent / name


def shipped_recipes() -> dict[str, Path]:
    """The recipe folders that ship with the package, by name."""
    return {folder.name: folder for folder in sorted(shipped_folder("recipes").iterdir()) if folder.is_dir()}


def copy_recipes(name: str, target: Path) -> list[Path]:
    """Copy a shipped recipe folder to `target`, which must not exist yet; returns the copied files.

    Raises UserError if there is no such folder or `target` exists.
    """
    folders = shipped_recipes()
    if name not in folders:
        raise UserError(
            f"there are no recipes named {name!r}; choose one of {', '.join(folders)}{did_you_mean(name, folders)}"
        )
    if os.path.lexists(target):
        raise UserError(f"{target} exists already; name a folder that does not")
    shutil.copytree(folders[name], target)
    return sorted(target.iterdir())


def utf8_path(path: str) -> str:
    """A path as valid UTF-8 text: undecodable bytes become escapes such as \\xe9, so different names stay different."""
    with suppress(UnicodeEncodeError):
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    return path.encode("utf-8", "backslashreplace").decode()  # a lone surrogate, from a JSON file
