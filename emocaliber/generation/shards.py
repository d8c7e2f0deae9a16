"""Shards: each of several machines predicts on its share of a source, and the parts are merged afterwards.

A row belongs to a shard by the hash of its id, so that no coordinator is needed: a Slurm array, an indexed job of
Kubernetes or a pool of spot machines runs the same command with another number. A part that was stopped is run again.

    emocaliber predict frames.parquet --shard 2/4 --out out/part-2
    emocaliber predict --merge out/part-* --out answers.parquet
"""

from __future__ import annotations

import hashlib
import heapq
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from emocaliber.core.errors import UserError
from emocaliber.core.files import write_atomically
from emocaliber.core.prompting import Template, template_of
from emocaliber.generation.readouts import (
    MANIFEST,
    Record,
    read_records,
    responses_file,
    write_predictions_of,
    write_records,
)

_OF_THE_PART = {"rows", "states", "shard", "versions"}
"""Keys of a manifest in which parts of one run differ."""


@dataclass(frozen=True)
class Shard:
    """One of `count` shares, numbered from 1."""

    number: int
    count: int

    @classmethod
    def read(cls, text: str) -> Shard:
        """The shard of `--shard 2/4`. Raises UserError."""
        parts = re.fullmatch(r"(\d+)/(\d+)", text)
        number, count = (int(parts[1]), int(parts[2])) if parts else (0, 0)
        if not 1 <= number <= count:
            raise UserError(f"--shard {text}: write NUMBER/COUNT, from 1/{count or 4} to {count or 4}/{count or 4}")
        return cls(number, count)

    def contains(self, name: str) -> bool:
        """Whether the row with this id belongs to this shard."""
        digest = hashlib.sha256(name.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def merge(parts: Sequence[Path], out: Path) -> tuple[Template, Counter[str]]:
    """Put the finished parts of a run together: the files are those of a run without shards, byte for byte.

    Returns the template that was asked with, and the rows by state. Raises UserError where a part is missing, not
    finished, there twice, or of another run.
    """
    manifests = _manifests(parts)
    first = next(iter(manifests.values()))
    template = template_of(first["template"], first["template"]["name"])
    for draw in range(first["draws"]):
        streams = [read_records(responses_file(part, draw)) for part in parts]
        write_records(responses_file(out, draw), _in_order(streams, first["source_rows"]))
    write_predictions_of(out, template, method=first["method"], draws=first["draws"])
    states = sum((Counter(manifest["states"]) for manifest in manifests.values()), Counter[str]())
    rows = sum(manifest["rows"] for manifest in manifests.values())
    merged = {key: value for key, value in first.items() if key not in ("shard", "source_rows")}
    merged |= {"rows": rows, "states": dict(sorted(states.items()))}
    write_atomically(out / MANIFEST, [json.dumps(merged, indent=2).encode() + b"\n"])
    return template, states


def _manifests(parts: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Each part's manifest by its shard. Raises UserError where they are not those of all parts of one run."""
    manifests: dict[str, dict[str, Any]] = {}
    for part in parts:
        path = part / MANIFEST
        if not path.is_file():
            raise UserError(f"--merge {part}: there is no {MANIFEST}; run its shard again until it has ended")
        manifest = json.loads(path.read_text())
        if "shard" not in manifest:
            raise UserError(f"--merge {part}: this is no part of a run; parts are written with --shard")
        if manifest["shard"] in manifests:
            raise UserError(f"--merge {part}: shard {manifest['shard']} is there twice")
        manifests[manifest["shard"]] = manifest
    first = next(iter(manifests.values()))
    for part, manifest in zip(parts, manifests.values(), strict=True):
        for key in first.keys() - _OF_THE_PART:
            if manifest.get(key) != first[key]:
                raise UserError(f"--merge {part}: its {key} is not that of {parts[0]}; run both with the same settings")
    count = Shard.read(first["shard"]).count
    if missing := [f"{number}/{count}" for number in range(1, count + 1) if f"{number}/{count}" not in manifests]:
        raise UserError(f"--merge: shard {missing[0]} is missing; give the folders of all {count}")
    return manifests


def _in_order(streams: Iterable[Iterable[Record]], count: int) -> Iterator[Record]:
    """The `count` records by their place in the source. Raises UserError where one is missing."""
    merged = heapq.merge(*streams, key=lambda record: record.place)
    for place in range(1, count + 1):
        record = next(merged, None)
        if record is None or record.place != place:
            raise UserError(f"--merge: row {place} is in no part; were all of them run on the same source?")
        yield msgspec.structs.replace(record, place=0)
