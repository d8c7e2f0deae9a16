"""A small data file, made of the shipped one, and answers about it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from emocaliber.data.embedded import FILES
from emocaliber.data.parquet import read_samples


def few_rows(path: Path, rows: dict[str, int]) -> Path:
    """A file of the first rows of the shipped kaomoji's splits."""
    table = pq.read_table(FILES["kaomoji"])
    parts = [table.filter(pc.equal(table["split"], split)).slice(0, n) for split, n in rows.items()]
    pq.write_table(pa.concat_tables(parts), path)
    return path


def answers_in_pairs(data: Path, file: Path) -> Path:
    """Surer and less sure answers to each question of the calibration split, about right and wrong labels in turn."""
    with file.open("w") as lines:
        for number, sample in enumerate(read_samples(data, "calibrate")):
            wrong = next(label for label in sample.candidates if label != sample.label)
            label, levels = (sample.label, ("0.90", "0.40")) if number % 2 else (wrong, ("0.10", "0.70"))
            said = [f"<answer>{label}</answer><confidence>{level}</confidence>" for level in levels]
            pair = {"id": sample.id, "task": sample.task, "kind": "right" if number % 2 else "wrong", "margin": 0.3}
            lines.write(json.dumps(pair | {"chosen": said[0], "rejected": said[1]}) + "\n")
    return file
