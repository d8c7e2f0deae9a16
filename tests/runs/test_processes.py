"""Two processes over gloo learn what one process with twice the batch learns, and they are really two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.utils.deepspeed import HfDeepSpeedConfig
from safetensors.torch import load_file
from transformers import Qwen2_5_VLForConditionalGeneration as Model

import emocaliber
from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.runs.processes import asked_by_all, join
from emocaliber.runs.recipes import read_recipe
from emocaliber.stages.fast import sharing_trainers
from emocaliber.stages.training import refuse_pieces
from tests.runs.few_rows import few_rows
from tests.runs.keyed_draws import keyed, telling
from tests.runs.short_runs import ON_CPU, RECIPES, losses
from tests.stages.families import save_family

ROOT = RECIPES.parent
ADAPTER = Path(emocaliber.__file__).parent / "data" / "tiny-adapter"
PLAIN = ["optim=sgd", "lr_scheduler_type=constant", "warmup_steps=0", "learning_rate=0.05", "max_steps=4"]
PLAIN += ["gradient_accumulation_steps=1"]
PROGRAM = """
import json, sys
import torch.distributed as dist
from transformers import Qwen2_5_VLForConditionalGeneration as Model
from emocaliber.cli import main
from emocaliber.stages.fast import sharing_trainers
from tests.runs.keyed_draws import keyed, telling

Model.generate = keyed(Model.generate)
sharing_trainers.generate_shared = telling(sharing_trainers.generate_shared)
for command in json.loads(sys.argv[1]):
    assert main(command) == 0
    assert dist.get_world_size() == 2, f"{dist.get_world_size()} processes"
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stage 1 and GRPO in folders `sft-2`, `sft-1`, `grpo-2`, `grpo-1`, named after the number of processes."""
    out = tmp_path_factory.mktemp("runs")
    label, rows = str(RECIPES / "qwen3-vl-4b" / "1-label.yaml"), few_rows(out / "train.parquet", {"train": 16})
    sft = ["train", label, *ON_CPU, *PLAIN, f"model={save_family('qwen3-vl', out / 'model')}", f"data=[{rows}]"]
    sft += ["max_pixels=4096"]
    calibrate, rows = str(RECIPES / "tiny" / "3-calibrate-grpo.yaml"), few_rows(out / "held.parquet", {"calibrate": 32})
    # The shipped adapter's answers can be read, so that those which are drawn are paid differently.
    grpo = ["train", calibrate, *ON_CPU, *PLAIN, f"data=[{rows}]", "max_steps=3", "num_generations=4", "beta=0.01"]

    def commands(size: int) -> list[list[str]]:
        batches = (f"per_device_train_batch_size={batch // size}" for batch in (4, 8))
        return [
            [*sft, next(batches), "--out", str(out / f"sft-{size}")],
            [*grpo, next(batches), "--adapter", str(ADAPTER), "--out", str(out / f"grpo-{size}")],
        ]

    (out / "two.py").write_text(PROGRAM)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([*torchrun, str(out / "two.py"), json.dumps(commands(2))], check=True, env=environment, cwd=ROOT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "generate", keyed(Model.generate))
        patch.setattr(sharing_trainers, "generate_shared", telling(sharing_trainers.generate_shared))
        assert [main(command) for command in commands(1)] == [0, 0]
    return out


@pytest.mark.slow
def test_two_processes_learn_as_one_with_twice_the_batch(runs: Path) -> None:
    two, one = (losses(runs / f"sft-{size}") for size in (2, 1))
    assert len(one) == 4
    assert two == pytest.approx(one, abs=1e-4)
    weights = [load_file(runs / f"sft-{size}" / "adapter" / "adapter_model.safetensors") for size in (2, 1)]
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-5) for name in weights[0])


def logged(out: Path, file: str, *keys: str) -> list[float]:
    lines = [json.loads(line) for line in (out / file).read_text().splitlines()]
    return [line[key] for line in lines if keys[0] in line for key in keys]


@pytest.mark.slow
def test_two_processes_learn_by_grpo_as_one_with_twice_the_batch(runs: Path) -> None:
    for file, keys in (("log.jsonl", ("loss", "reward", "kl", "grad_norm")), ("held_out.jsonl", ("brier", "mean"))):
        two, one = (logged(runs / f"grpo-{size}", file, *keys) for size in (2, 1))
        assert len(one) == (3 if file == "log.jsonl" else 4) * len(keys)
        assert two == pytest.approx(one, abs=1e-4, rel=1e-3)
    assert min(logged(runs / "grpo-1", "log.jsonl", "reward_std")) > 0, "paid alike, nothing would be learned"


def test_sharding_that_would_silently_not_happen_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = read_recipe(RECIPES / "tiny" / "1-label.yaml")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UserError, match="FSDP parts nothing on a CPU"):
        join(recipe)
    monkeypatch.delenv("ACCELERATE_USE_FSDP")
    with pytest.raises(UserError, match="FSDP parts nothing on a CPU"):
        join(read_recipe(recipe.path, ["fsdp=full_shard"]))


def test_zero_3_that_would_leave_pieces_is_refused_before_it_trains() -> None:
    whole = {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True}
    for zero in (whole, {"stage": 2}):
        refuse_pieces(HfDeepSpeedConfig({"zero_optimization": zero}))
    with pytest.raises(UserError, match="zero3_save_16bit_model: true"):
        refuse_pieces(HfDeepSpeedConfig({"zero_optimization": {"stage": 3}}))


def test_a_single_process_asks_about_everything_itself() -> None:
    assert asked_by_all([1, 2, 3], lambda part: [2 * one for one in part]) == [2, 4, 6]
