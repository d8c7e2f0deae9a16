"""A small data file, made of the shipped one."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from emocaliber.data.embedded import FILES


def few_rows(path: Path, rows: dict[str, int]) -> Path:
    """A file of the first rows of the shipped kaomoji's splits."""
    table = pq.read_table(FILES["kaomoji"])
    parts = [table.filter(pc.equal(table["split"], split)).slice(0, n) for split, n in rows.items()]
    pq.write_table(pa.concat_tables(parts), path)
    return path
