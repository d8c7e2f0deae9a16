"""Converting any layout to one Parquet file of samples, with image bytes or paths, as a stream.

Conversion stops at the first row that cannot be written (`emocaliber data check` lists them all), and decodes no
pixels. Parts are written beside the file first, so that an interrupted conversion resumes. Row groups are small and
images are not recompressed, so that reading one image does not read many.

    emocaliber data convert photos --out photos.parquet
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from emocaliber.core.errors import UserError
from emocaliber.core.images import FIXES, ImageError, check_image, image_name, read_image_bytes
from emocaliber.core.outputs import discard
from emocaliber.core.samples import FileImage, ImageSource, Sample
from emocaliber.data.parquet import OPTIONAL, REQUIRED, Values
from emocaliber.data.rows import Row

Images = Literal["bytes", "paths"]
PART_FILES = "[0-9][0-9][0-9][0-9][0-9][0-9].par*"  # NNNNNN.parquet, and .partial while it is written
PART_ROWS = 2_000
PART_BYTES = 64_000_000
GROUP_BYTES = 4_000_000
"""The approximate size of a row group's images, which is what reading one image costs."""


def _schema() -> pa.Schema:
    """The schema: REQUIRED and OPTIONAL columns, with the feature metadata that Hugging Face datasets reads."""
    text, value = pa.string(), {"dtype": "string", "_type": "Value"}
    counts = pa.list_(pa.struct([("label", text), ("count", pa.int32())]))
    described_counts = {"feature": {"label": value, "count": value | {"dtype": "int32"}}, "_type": "List"}
    types = dict.fromkeys((*REQUIRED, *OPTIONAL), text) | {
        "image": pa.struct([("bytes", pa.binary()), ("path", text)]),
        "candidates": pa.list_(text),
        "votes": counts,
        "second_votes": counts,
    }
    features: dict[str, object] = dict.fromkeys(types, value) | {
        "image": {"_type": "Image"},
        "candidates": {"feature": value, "_type": "List"},
        "votes": described_counts,
        "second_votes": described_counts,
    }
    described = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema(list(types.items()), metadata=described)


SCHEMA = _schema()


def leaf_names(schema: pa.Schema) -> list[str]:
    """The leaf columns of a file with this schema, as Parquet names them."""
    buffer = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), buffer)
    described = pq.ParquetFile(pa.BufferReader(buffer.getvalue())).schema
    return [described.column(i).path for i in range(len(described))]


COMPRESSION = {name: "none" if name == "image.bytes" else "zstd" for name in leaf_names(SCHEMA)}


def write_parquet(
    rows: Iterable[Row],
    out: Path,
    *,
    images: Images = "bytes",
    key: str = "",
    metadata: dict[str, str] | None = None,
    on_progress: Callable[[int], None] = lambda count: None,
) -> int:
    """Write the rows in order; returns their number. `key` identifies their inputs: parts with another key are not
    reused.

    Raises UserError naming file, line and key if an id repeats, an image cannot be read under its root or has an
    invalid header, or an image path does not lie under the folder of `out`.
    """
    parts = out.parent / f"{out.name}.parts-{hashlib.sha256(f'{key} {images}'.encode()).hexdigest()[:12]}"
    source, count, number = _with_new_ids(rows), 0, 0
    while written := _part(parts / f"{number:06d}.parquet", source, out.parent, images):
        count, number = count + written, number + 1
        on_progress(written)
    if not count:
        discard(parts, PART_FILES)
        raise UserError(f"{out}: the source has no rows, so nothing was written")
    _join([parts / f"{part:06d}.parquet" for part in range(number)], out, metadata or {})
    discard(parts, PART_FILES)
    return count


def _with_new_ids(rows: Iterable[Row]) -> Iterator[Row]:
    seen: set[bytes] = set()
    for row in rows:
        digest = hashlib.blake2b(row.sample.id.encode(errors="surrogatepass"), digest_size=12).digest()
        if digest in seen:
            raise UserError(f"{row.place}: id: {row.sample.id!r} comes a second time; give every row its own")
        seen.add(digest)
        yield row


def _part(path: Path, source: Iterator[Row], folder: Path, images: Images) -> int:
    """Write the next part, or skip its rows if it exists already; returns its number of rows."""
    again: list[Row] = []
    if path.exists():
        ids = pq.read_table(path, columns=["id"])["id"].to_pylist()
        again = list(islice(source, len(ids)))
        if [row.sample.id for row in again] == ids:
            return len(ids)
    chosen = [_written(row, folder, images) for row in again] or _next_part(source, folder, images)
    if chosen:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        pq.write_table(pa.Table.from_pylist(chosen, schema=SCHEMA), partial, compression="zstd")
        partial.replace(path)
    return len(chosen)


def _next_part(rows: Iterator[Row], folder: Path, images: Images) -> list[Any]:
    """Rows up to a part's size."""
    chosen: list[Any] = []
    size = 0
    for row in rows:
        chosen.append(_written(row, folder, images))
        size += len(chosen[-1]["image"]["bytes"] or b"")
        if len(chosen) >= PART_ROWS or size >= PART_BYTES:
            break
    return chosen


def _written(row: Row, folder: Path, images: Images) -> Any:
    return sample_row(row.sample, _bytes(row) if images == "bytes" else _path(row, folder))


def _bytes(row: Row) -> bytes:
    image = row.sample.image
    try:
        encoded = read_image_bytes(image)
        check_image(encoded, image_name(image))
    except ImageError as error:
        raise UserError(f"{row.place}: image: {error}; {FIXES[error.kind]}") from error
    return encoded


def _path(row: Row, folder: Path) -> str:
    image = row.sample.image
    if not isinstance(image, FileImage):
        raise UserError(f"{row.place}: image: it came as bytes and has no path; leave --images paths out")
    _bytes(row)
    resolved, top = (image.root / image.name).resolve(), folder.resolve()
    if not resolved.is_relative_to(top):
        raise UserError(f"{row.place}: image: {image.name} does not lie under {top}; write the Parquet file to the "
                        "data root, or leave --images paths out")  # fmt: skip
    return resolved.relative_to(top).as_posix()


def _join(parts: list[Path], out: Path, metadata: dict[str, str]) -> None:
    """Join the parts into one file with row groups of about GROUP_BYTES, renamed to `out` once complete."""
    schema = SCHEMA.with_metadata({**(SCHEMA.metadata or {}), **metadata})
    partial = out.with_name(f"{out.name}.partial")
    with pq.ParquetWriter(partial, schema, compression=COMPRESSION) as writer:
        for part in parts:
            table = pq.read_table(part).cast(SCHEMA).replace_schema_metadata(schema.metadata)
            groups = max(1, -(-table["image"].nbytes // GROUP_BYTES))
            writer.write_table(table, row_group_size=max(1, -(-len(table) // groups)))
    partial.replace(out)


def sample_row(sample: Sample, image: ImageSource | str) -> Values:
    """A sample as a row of SCHEMA, with its image's bytes or its path relative to the file's folder."""
    votes = _listed(sample.votes)
    ratings = None if sample.ratings is None else msgspec.json.encode(sample.ratings).decode()
    stored = {"bytes": image, "path": None} if isinstance(image, bytes) else {"bytes": None, "path": image}
    plain = {name: getattr(sample, name) for name in REQUIRED if name not in ("image", "candidates")}
    return plain | {"image": stored, "candidates": list(sample.candidates), "votes": votes,
                    "label_rule": sample.label_rule, "ratings": ratings,
                    "second_votes": _listed(sample.second_votes), "rationale": sample.rationale,
                    "question": sample.question or None}  # fmt: skip


def write_rows(path: Path, rows: Iterable[Values], extra: Mapping[str, str]) -> None:
    """Write rows with REQUIRED columns, `votes` (a count per label, or None) and `extra` columns, given as name: dtype.

    `image` is a mapping of `bytes` and `path`. Needs the package `datasets` (extra `train`).
    """
    from datasets import Features, Image, List, Value

    columns = {name: Value("string") for name in REQUIRED} | {
        "image": Image(),
        "candidates": List(Value("string")),
        "votes": List({"label": Value("string"), "count": Value("int32")}),
    }
    schema = Features(columns | {name: Value(dtype) for name, dtype in extra.items()}).arrow_schema
    table = pa.Table.from_pylist([{**row, "votes": _listed(row.get("votes"))} for row in rows], schema=schema)
    pq.write_table(table, path, compression="zstd", compression_level=12)


def _listed(votes: Mapping[str, int] | None) -> list[dict[str, str | int]] | None:
    """Votes as a list of structs, because not every Parquet reader supports mappings."""
    return None if votes is None else [{"label": label, "count": count} for label, count in votes.items()]
