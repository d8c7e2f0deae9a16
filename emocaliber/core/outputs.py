"""Output safety: a command writes to a new or empty folder, or to one that emocaliber wrote, one process at a time.

Every output has a record: `.emocaliber.jsonl` inside a folder, `.NAME.emocaliber.jsonl` beside a file. A command
appends a line when it starts (process, file names, inputs) and one when it ends (its files with size, time and hash).
A file belongs to emocaliber if the record lists it and it has not changed since. Any other file makes the command fail
before it starts, and is never removed or overwritten. The record is also the lock file: the process holds the lock
until it ends, even if it is killed.

    with claimed(Output(Path("out/score"), ("scorecard.json", "report.html")), "emocaliber score ...", {}):
        ...
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from emocaliber.core.errors import UserError

RECORD = ".emocaliber.jsonl"
SCORECARD = ("scorecard.json", "scorecard.md", "report.html")
"""The files that every evaluating command writes."""
REPORT = ("report/report.*", "report/scorecard.json", "report/inputs.json", "report/done.json")
"""The files that `run` and `compare` write for a run, relative to its folder."""
CARD = ".card.md"
"""The suffix appended to a data file's name for its card."""
HASHED_UP_TO = 64 << 20
"""Bytes. Larger files are not hashed, which would take minutes for weights: a new time at the same size is accepted."""
NAMES_SHOWN = 3
OF_FILES = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".txt", ".md", ".html", ".pdf", ".xlsx", ".xls", ".ods")
"""Suffixes of files: a new folder with such a name was meant to be a file."""

Listed = dict[str, list[Any]]
"""Each file's size in bytes, modification time in ns, and SHA-256 (or ""), by its path relative to the folder."""


@dataclass(frozen=True)
class Output:
    """The target of `--out`: a folder and the names (globs) that the command may write in it, or a file.

    `is_file`: `path` is a file, and `names` are further files beside it. `instead`: which names of files the command
    takes as well, for the error of another file's name. `must_exist`: `path` was written by an earlier
    command. `must_be_new`: `path` must not exist. `in_steps`: the command itself refuses changed inputs (see
    emocaliber.runs.resume).
    """

    path: Path
    names: tuple[str, ...] = ()
    is_file: bool = False
    instead: str = ""
    must_exist: bool = False
    must_be_new: bool = False
    in_steps: bool = False

    @property
    def folder(self) -> Path:
        """The folder that `patterns` are relative to."""
        return self.path.parent if self.is_file else self.path

    @property
    def record(self) -> Path:
        """The record, which is locked while a command writes."""
        return self.folder / (f".{self.path.name}{RECORD}" if self.is_file else RECORD)

    @property
    def is_recorded(self) -> bool:
        """Whether a command has started writing here before."""
        return self.record.is_file() and self.record.stat().st_size > 0

    @property
    def patterns(self) -> tuple[str, ...]:
        """Globs, relative to `folder`, of the files that the command may write."""
        return (literal(self.path.name), *self.names) if self.is_file else self.names

    def files(self) -> set[Path]:
        """The existing files that match `patterns`."""
        paths = (path for pattern in self.patterns for path in self.folder.glob(pattern))
        return {path for path in paths if path.is_symlink() or not path.is_dir()}


@contextmanager
def claimed(output: Output, command: str, inputs: Mapping[str, Any]) -> Iterator[None]:
    """Lock `output` for this process; on exit, also by an exception, record the files that were written.

    `inputs` are what the files depend on; differences from the previous command are reported. Raises UserError if the
    folder or a file was not written by emocaliber, another process is writing there, or it is not writable.
    """
    _refuse_wrong_kind(output)
    if output.must_be_new:
        yield
        return
    is_first, is_new_folder = not output.is_recorded, not output.folder.exists()
    if is_first:
        _refuse_foreign_files(output)
    with _locked(output) as record:
        lines = _lines(record)
        _refuse_unlisted(output, lines)
        _announce(output, lines, inputs)
        start = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat("T", "seconds")}
        _append(record, start | {"command": command, "names": output.patterns, "inputs": dict(inputs)})
        try:
            yield
        finally:
            files = output.files()
            with suppress(OSError):  # on a full disk, the names in the start line still identify our files
                _append(record, {"files": {str(file.relative_to(output.folder)): _facts(file) for file in files}})
            has_steps = output.in_steps and any(file.name != RECORD for file in output.folder.iterdir())
            if is_first and not files and not has_steps:
                output.record.unlink(missing_ok=True)
                if is_new_folder:
                    _remove_if_empty(output.folder)


def _refuse_wrong_kind(output: Output) -> None:
    path = output.path
    if output.must_be_new and os.path.lexists(path):
        raise UserError(f"--out: {path} exists already; name a folder that does not")
    if output.is_file and path.is_dir():
        raise UserError(f"--out: {path} is a folder; name a file in it, such as {path / 'NAME'}")
    if not output.is_file and os.path.lexists(path) and not path.is_dir():
        raise UserError(f"--out: {path} is a file; name a folder that is new or empty")
    if not output.is_file and path.suffix.casefold() in OF_FILES and not path.is_dir():
        raise UserError(f"--out: {path} would be a folder; name it without {path.suffix}{output.instead}")
    if output.must_exist and not output.is_recorded:
        reason = "was not written by emocaliber" if path.is_dir() else "is not a folder"
        raise UserError(f"{path} {reason}; give the --out of a finished `emocaliber run`")


def _refuse_foreign_files(output: Output) -> None:
    """Raises UserError if no command has written here before, and files are already there."""
    if output.is_file:
        if existing := sorted(output.files()):
            raise UserError(
                f"--out: {existing[0]} exists already and was not written by emocaliber; name another"
                " file, or move this one away"
            )
    elif output.path.is_dir() and (names := sorted({file.name for file in output.path.iterdir()} - {RECORD})):
        raise UserError(
            f"--out: {output.path} holds {_abridged(names)}, not written by emocaliber; name a folder that is new or"
            " empty"
        )


def _refuse_unlisted(output: Output, lines: list[dict[str, Any]]) -> None:
    """Raises UserError if the command would overwrite a file that emocaliber did not write, or that has changed."""
    listed, patterns = _listed(lines)
    unfinished = {path for pattern in patterns for path in output.folder.glob(pattern)}
    for file in sorted(output.files() - unfinished):
        name = str(file.relative_to(output.folder))
        if name not in listed:
            raise UserError(
                f"--out: {file} was not written by emocaliber, and this command writes a file with that name; move it"
                " away, or name another --out"
            )
        if not _unchanged(file, listed[name]):
            raise UserError(f"--out: {file} has changed since emocaliber wrote it; move it away, or name another --out")


def _listed(lines: list[dict[str, Any]]) -> tuple[Listed, list[str]]:
    """The files of commands that ended, and the globs of commands that were killed before they could list theirs."""
    listed: Listed = {}
    patterns: list[str] = []
    for line, following in pairwise([*lines, {}]):
        listed |= line.get("files", {})
        if "files" not in following:
            patterns += line.get("names", [])
    return listed, patterns


def _announce(output: Output, lines: list[dict[str, Any]], inputs: Mapping[str, Any]) -> None:
    """If an input has changed since the last run of this command, print which files will be replaced."""
    same_command = (line["inputs"] for line in reversed(lines) if line.get("inputs", {}).keys() == inputs.keys())
    before = next(same_command, None)
    names = sorted(str(file.relative_to(output.folder)) for file in output.files())
    if output.in_steps or before is None or not names or before == dict(inputs):
        return
    changed = [key for key in sorted(before.keys() | inputs.keys()) if before.get(key) != inputs.get(key)]
    changes = "; ".join(f"{key}: {before.get(key)!r} is now {inputs.get(key)!r}" for key in changed)
    print(f"{output.path}: {_abridged(names)} will be replaced ({changes})", file=sys.stderr, flush=True)


@contextmanager
def _locked(output: Output) -> Iterator[int]:
    """The record's file descriptor, locked. The lock ends with the process, even after kill -9."""
    record = _open_record(output)
    try:
        if not _lock(record, output.record):
            raise UserError(_busy_message(output, _lines(record)))
        yield record
    finally:
        os.close(record)


def _lock(record: int, path: Path) -> bool:
    """False if another process holds the lock, or has just removed the file."""
    try:
        fcntl.lockf(record, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock, not inherited by forked workers
        return os.fstat(record).st_ino == path.stat().st_ino
    except (BlockingIOError, PermissionError, FileNotFoundError):
        return False


def _busy_message(output: Output, lines: list[dict[str, Any]]) -> str:
    start: dict[str, Any] = next((line for line in reversed(lines) if "pid" in line), {})
    process = f"process {start.get('pid')} on {start.get('host')} since {start.get('since')}"
    command = start.get("command", "another command")
    return (
        f"--out: {output.path} is being written by `{command}` ({process}); wait for it to finish, or name another"
        " --out"
    )


def _open_record(output: Output) -> int:
    try:
        output.folder.mkdir(parents=True, exist_ok=True)
        return os.open(output.record, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UserError(f"--out: {output.path} cannot be written to: {error.strerror}; name another --out") from None


def _lines(record: int) -> list[dict[str, Any]]:
    """The record's lines, without one that a kill left incomplete."""
    lines = []
    for line in os.pread(record, os.fstat(record).st_size, 0).splitlines():
        with suppress(ValueError):
            lines.append(json.loads(line))
    return lines


def _append(record: int, line: Mapping[str, Any]) -> None:
    """Append a line. It starts with a newline, in case a kill left an incomplete line before it."""
    os.write(record, b"\n" + json.dumps(line, default=str).encode() + b"\n")
    os.fsync(record)


def _facts(file: Path) -> list[Any]:
    """Size, modification time and, unless the file is large or a link, SHA-256."""
    state = file.lstat()
    is_hashed = state.st_size <= HASHED_UP_TO and not file.is_symlink()
    return [state.st_size, state.st_mtime_ns, _sha256(file) if is_hashed else ""]


def _unchanged(file: Path, facts: list[Any]) -> bool:
    """Same size and time; or, for a copy with another time, the same size and hash."""
    size, changed, digest = facts
    state = file.lstat()
    if state.st_size != size:
        return False
    return state.st_mtime_ns == changed or digest in ("", _sha256(file))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _abridged(names: list[str]) -> str:
    """The first few names, and the number of the others."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def literal(name: str) -> str:
    """A glob that matches exactly this name."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def replace_folder(partial: Path, target: Path) -> None:
    """Replace `target` with `partial`, keeping files that only `target` has."""
    for file in sorted(target.rglob("*")):
        destination = partial / file.relative_to(target)
        if not file.is_dir() and not os.path.lexists(destination):
            destination.parent.mkdir(parents=True, exist_ok=True)
            file.rename(destination)
    shutil.rmtree(target, ignore_errors=True)
    partial.replace(target)


def discard(folder: Path, *patterns: str) -> None:
    """Remove a command's own files matching these globs, and the folder if that leaves it empty."""
    for path in [path for pattern in patterns for path in folder.glob(pattern)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    _remove_if_empty(folder)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
