"""Two processes over gloo learn what one process with twice the batch learns, and they are really two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from emocaliber.datasets.embedded import FILES
from emocaliber.pipeline.processes import asked_by_all
from tests.pipeline.short_runs import ON_CPU, RECIPES, losses
from tests.stages.families import save_family

PLAIN = ["optim=sgd", "lr_scheduler_type=constant", "warmup_steps=0", "learning_rate=0.05", "max_steps=4"]
PROGRAM = """
import sys, torch.distributed as dist
from emocaliber.cli import main
code = main(sys.argv[2:])
size = dist.get_world_size() if dist.is_initialized() else 1
assert size == int(sys.argv[1]), f"{size} processes"
sys.exit(code)
"""


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.mark.slow
def test_two_processes_learn_as_one_with_twice_the_batch(tmp_path: Path) -> None:
    model, program, data = (
        save_family("qwen3-vl", tmp_path / "model"),
        tmp_path / "program.py",
        tmp_path / "few.parquet",
    )
    program.write_text(PROGRAM)
    table = pq.read_table(FILES["kaomoji"])
    pq.write_table(table.filter(pc.equal(table["split"], "train")).slice(0, 16), data)
    recipe = [str(RECIPES / "qwen3-vl-4b" / "1-label.yaml"), *ON_CPU, *PLAIN, f"model={model}", f"data=[{data}]"]
    recipe += ["max_pixels=4096", "gradient_accumulation_steps=1"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29511"]
    for start, size, rows in ((launch, 2, 2), ([sys.executable], 1, 4)):
        changes = [f"per_device_train_batch_size={rows}", "--out", str(tmp_path / str(size))]
        command = [*start, str(program), str(size), "train", *recipe, *changes]
        subprocess.run(command, check=True, env=environment(), cwd=RECIPES.parent)
    two, one = (losses(tmp_path / str(size)) for size in (2, 1))
    assert len(one) == 4
    assert two == pytest.approx(one, abs=1e-4)
    weights = [load_file(tmp_path / str(size) / "adapter" / "adapter_model.safetensors") for size in (2, 1)]
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-5) for name in weights[0])


def test_a_single_process_asks_about_everything_itself() -> None:
    assert asked_by_all([1, 2, 3], lambda part: [2 * one for one in part]) == [2, 4, 6]
