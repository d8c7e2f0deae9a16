"""Rows grouped by length in two processes: the main one alone counts, and both draw batches from the same lengths."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from emocaliber.data.embedded import FILES
from tests.runs.short_runs import ON_CPU, RECIPES, losses

PROGRAM = """
import json, sys
from pathlib import Path
import torch.distributed as dist
from emocaliber.cli import main
from emocaliber.stages import supervised

counted, received = [], []
count, receive = supervised.token_lengths, supervised._lengths_by_main

def counting(examples, *rest):
    counted.append(len(examples))
    return count(examples, *rest)

def receiving(*arguments):
    received.extend(receive(*arguments))
    return received

supervised.token_lengths, supervised._lengths_by_main = counting, receiving
assert main(sys.argv[2:]) == 0
seen = {"processes": dist.get_world_size(), "counted": counted, "lengths": received}
Path(sys.argv[1], f"process-{dist.get_rank()}.json").write_text(json.dumps(seen))
"""
ROWS = 16


def first_rows(name: str, folder: Path) -> Path:
    """Half of ROWS, of one shipped data set: each has labels, and so a length, of its own."""
    table = pq.read_table(FILES[name])
    pq.write_table(table.filter(pc.equal(table["split"], "train")).slice(0, ROWS // 2), folder / f"{name}.parquet")
    return folder / f"{name}.parquet"


@pytest.mark.slow
def test_the_main_of_two_processes_counts_the_lengths_that_both_group_by(tmp_path: Path) -> None:
    out = tmp_path / "out"
    files = [str(first_rows(name, tmp_path)) for name in ("kaomoji", "emoji")]
    changes = [*ON_CPU, f"data=[{','.join(files)}]", "packing=false", "train_sampling_strategy=group_by_length"]
    train = ["train", str(RECIPES / "tiny" / "1-label.yaml"), *changes, "--out", str(out)]
    (tmp_path / "grouped.py").write_text(PROGRAM)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(RECIPES.parent)}
    command = [*torchrun, str(tmp_path / "grouped.py"), str(tmp_path), *train]
    subprocess.run(command, check=True, env=environment, cwd=RECIPES.parent)
    first, second = (json.loads((tmp_path / f"process-{rank}.json").read_text()) for rank in (0, 1))
    assert first["processes"] == second["processes"] == 2
    assert (first["counted"], second["counted"]) == ([ROWS], [])
    assert first["lengths"] == second["lengths"]
    assert len(first["lengths"]) == ROWS
    assert len(set(first["lengths"])) > 1, "of one length, any order would do"
    assert len(losses(out)) == 2
