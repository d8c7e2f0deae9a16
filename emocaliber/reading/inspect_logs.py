"""Reading inspect_ai's logs as Prediction rows: `.eval` files (a zip of zstd-compressed JSON) and `.json` logs.

inspect_ai is not needed; the format is that of version 0.3.285. A sample's target is the true label, or the letter of
one of its choices; its metadata may contain `candidates` and `votes`. Epochs of one sample form a cluster.

    emocaliber score logs/2026-11-30T19-01-31_emotions.eval
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from emocaliber.core.errors import UserError
from emocaliber.core.files import open_utf8
from emocaliber.core.predictions import State
from emocaliber.reading.harness_rows import SHUFFLED, Item, candidates_in, votes_in

_ZSTD = 93
"""The zip format's method number for zstd, which Python's zipfile does not support before 3.14."""
_HEADER, _START, _SAMPLES = "header.json", "_journal/start.json", "samples/"
_CUT = ("max_tokens", "model_length")


class _Message(msgspec.Struct):
    content: str | list[dict[str, Any]] = ""


class _Choice(msgspec.Struct):
    message: _Message
    stop_reason: str = "stop"


class _Output(msgspec.Struct):
    choices: list[_Choice] = []


class _Sample(msgspec.Struct):
    """What is read of a sample."""

    id: str | int
    epoch: int
    target: str | list[str]
    output: _Output
    choices: list[str] | None = None
    metadata: dict[str, Any] = {}
    error: Any = None


def is_inspect_log(path: Path) -> bool:
    """Whether the file is one of inspect_ai's logs, by its content."""
    with open_utf8(path) as file:
        head = file.read(64)
    if head.startswith(b"PK"):
        try:
            names = set(zipfile.ZipFile(path).namelist())
        except zipfile.BadZipFile:
            return False
        return bool({_HEADER, _START} & names)
    return head.split()[:2] == [b"{", b'"version":'] and b'"status"' in head


def inspect_items(path: Path) -> Iterator[Item]:
    """The samples of a log, in order. Raises UserError for a run that did not finish, naming how many samples there
    are, for choices that a solver shuffled, and for a sample without one target."""
    header, samples = _unpacked(path)
    run = header.get("eval", {})
    if header.get("status") != "success":
        raise UserError(
            f"{path}: the run did not finish (status {header.get('status', 'started')!r}, {len(samples)} samples are"
            f" logged); `inspect eval-retry {path.name}` runs the rest"
        )
    steps = (header.get("plan") or {}).get("steps") or []
    if any((step.get("params") or {}).get("shuffle") for step in steps):
        raise UserError(f"{path}: a solver shuffled the choices, and with them the answers' letters; {SHUFFLED}")
    for raw in samples:
        yield _item(path, raw, str(run.get("task", "all")), str(run.get("model", path.stem)))


def _item(path: Path, raw: Any, task: str, model: str) -> Item:
    try:
        sample = msgspec.convert(raw, _Sample)
    except msgspec.ValidationError as problem:
        raise UserError(f"{path}: a sample is not as inspect_ai 0.3 writes it: {problem}") from None
    where = f"{path}, sample {sample.id!r}"
    targets = [sample.target] if isinstance(sample.target, str) else sample.target
    if len(targets) != 1:
        raise UserError(f"{where}: it has {len(targets)} targets; one true label is needed")
    choice = sample.output.choices[0] if sample.output.choices else _Choice(_Message())
    finish = "length" if choice.stop_reason in _CUT else "stop"
    return Item(
        where,
        str(sample.id) if sample.epoch == 1 else f"{sample.id}/epoch {sample.epoch}",
        task,
        model,
        targets[0],
        _text(choice.message.content),
        tuple(sample.choices or candidates_in(sample.metadata)),
        lettered=bool(sample.choices),
        finish_reason=State.ENGINE_ERROR.value if sample.error else finish,
        cluster=str(sample.id),
        votes=votes_in(sample.metadata),
    )


def _text(content: str | list[dict[str, Any]]) -> str:
    """The text of a message; for one in parts, the concatenated text parts, without reasoning."""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content if part.get("type") == "text")


def _unpacked(path: Path) -> tuple[dict[str, Any], list[Any]]:
    """The header of a log and its samples. Raises UserError if the log is invalid."""
    try:
        if not zipfile.is_zipfile(path):
            log = json.loads(path.read_bytes())
            return log, log.get("samples") or []
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            header = next(entry for name in (_HEADER, _START) for entry in entries if entry.filename == name)
            samples = [entry for entry in entries if entry.filename.startswith(_SAMPLES)]
            return json.loads(_bytes(archive, header)), [json.loads(_bytes(archive, entry)) for entry in samples]
    except (OSError, ValueError, zipfile.BadZipFile) as problem:
        raise UserError(f"{path} is a log of inspect_ai that cannot be read: {problem}") from None


def _bytes(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The decompressed content of an entry."""
    if entry.compress_type != _ZSTD:
        return archive.read(entry)
    import pyarrow as pa

    file = archive.fp
    assert file is not None
    file.seek(entry.header_offset + 26)  # the lengths of name and extra field, at the end of the 30-byte local header
    lengths = file.read(4)
    file.seek(int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little"), 1)
    packed = file.read(entry.compress_size)
    return bytes(pa.Codec("zstd").decompress(packed, decompressed_size=entry.file_size, asbytes=True))
