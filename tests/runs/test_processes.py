"""Two processes over gloo learn what one process with twice the batch learns, and they are really two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.utils.deepspeed import HfDeepSpeedConfig
from safetensors.torch import load_file
from transformers import Qwen2_5_VLForConditionalGeneration as Model

import emocaliber
from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.data.embedded import load
from emocaliber.generation.journal import Journal
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.models.location import embedded_base
from emocaliber.runs.recipes import read_recipe
from emocaliber.runs.teacher import EngineTeacher
from emocaliber.runs.train import join, refuse_here
from emocaliber.stages.fast import prompt_sharing
from emocaliber.stages.launch import distributed_map
from emocaliber.stages.training import refuse_sharded_result
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
import torch
import torch.distributed as dist
from transformers import Qwen2_5_VLForConditionalGeneration as Model
from emocaliber.cli import main
from emocaliber.runs.train import PATIENCE
from emocaliber.stages.fast import prompt_sharing
from tests.runs.keyed_draws import keyed, telling

Model.generate = keyed(Model.generate)
prompt_sharing.generate_shared = telling(prompt_sharing.generate_shared)
for command in json.loads(sys.argv[1]):
    assert main(command) == 0
    assert dist.get_world_size() == 2, f"{dist.get_world_size()} processes"
    waits = dist.group.WORLD._get_backend(torch.device("cpu")).options._timeout
    assert waits == PATIENCE, f"a process waits {waits} for the others"
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
        patch.setattr(prompt_sharing, "generate_shared", telling(prompt_sharing.generate_shared))
        assert [main(command) for command in commands(1)] == [0, 0]
    return out


@pytest.mark.slow
def test_two_processes_learn_as_one_with_twice_the_batch(runs: Path) -> None:
    together, alone = (losses(runs / f"sft-{size}") for size in (2, 1))
    assert len(alone) == 4
    assert together == pytest.approx(alone, abs=1e-4)
    weights = [load_file(runs / f"sft-{size}" / "adapter" / "adapter_model.safetensors") for size in (2, 1)]
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-5) for name in weights[0])


def logged(out: Path, file: str, *keys: str) -> list[float]:
    lines = [json.loads(line) for line in (out / file).read_text().splitlines()]
    return [line[key] for line in lines if keys[0] in line for key in keys]


@pytest.mark.slow
def test_two_processes_learn_by_grpo_as_one_with_twice_the_batch(runs: Path) -> None:
    for file, keys in (("log.jsonl", ("loss", "reward", "kl", "grad_norm")), ("held_out.jsonl", ("brier", "mean"))):
        together, alone = (logged(runs / f"grpo-{size}", file, *keys) for size in (2, 1))
        assert len(alone) == (3 if file == "log.jsonl" else 4) * len(keys)
        assert together == pytest.approx(alone, abs=1e-4, rel=1e-3)
    assert min(logged(runs / "grpo-1", "log.jsonl", "reward_std")) > 0, "paid alike, nothing would be learned"


def test_sharding_that_would_silently_not_happen_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = read_recipe(RECIPES / "tiny" / "1-label.yaml")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UserError, match="FSDP parts nothing on a CPU"):
        join(recipe)
    monkeypatch.delenv("ACCELERATE_USE_FSDP")
    with pytest.raises(UserError, match="FSDP parts nothing on a CPU"):
        join(read_recipe(recipe.path, ["fsdp=full_shard"]))


@pytest.mark.parametrize(
    ("changes", "gpus", "sentence"),
    [
        (
            ["method=grpo", 'deepspeed={"zero_optimization": {"stage": 3}}'],
            0,
            "zero3 grpo lora none .*GRPO and RLOO generate while they train",
        ),
        (
            ["method=rloo", "use_cpu=false", "fsdp=full_shard"],
            1,
            "fsdp2 rloo lora none .*ddp.yaml or zero2.yaml, or give method: proper",
        ),
        (["use_cpu=false"], 8, "one process sees 8 GPUs .*CUDA_VISIBLE_DEVICES=0.*--num_processes 8"),
    ],
)
def test_a_launch_that_cannot_work_is_refused_before_a_model_is_looked_for(
    changes: list[str], gpus: int, sentence: str
) -> None:
    recipe = replace(read_recipe(RECIPES / "tiny" / "3-calibrate.yaml"), model="nowhere")
    method = next((text.partition("=")[2] for text in changes if text.startswith("method=")), "proper")
    settings = dict(part.split("=", 1) for part in changes if not part.startswith("method="))
    trainer = recipe.trainer | {key: yaml.safe_load(value) for key, value in settings.items()}
    with pytest.raises(UserError, match=sentence):
        refuse_here(replace(recipe, method=method, trainer=trainer), gpus=gpus)  # type: ignore[arg-type]


def test_sharded_weights_are_not_refused_for_a_proper_loss() -> None:
    recipe = read_recipe(RECIPES / "tiny" / "3-calibrate.yaml", ['deepspeed={"zero_optimization": {"stage": 3}}'])
    refuse_here(recipe, gpus=0)


SHARED = """
import json, sys, time
from pathlib import Path
import torch.distributed as dist
from accelerate import PartialState
PartialState(cpu=True)
from emocaliber.core.errors import UserError
from emocaliber.data.embedded import load
from emocaliber.generation.journal import Journal
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.runs.train import by_main
from emocaliber.runs.teacher import EngineTeacher
from emocaliber.stages.launch import any_process, rank, distributed_map

def work(number):
    time.sleep(1.0 if number == 0 else 0.01)
    return rank(), number

dist.barrier()
done = distributed_map(range(12), work)
assert [number for _, number in done] == list(range(12))
assert any_process(rank() == 1) and not any_process(False)
assert by_main(lambda: f"made by {rank()}") == "made by 0"
def refuses():
    assert rank() == 0
    raise UserError("rows.csv: row 3 has no label")
try:
    by_main(refuses)
except UserError as error:
    assert str(error) == "rows.csv: row 3 has no label"
else:
    raise AssertionError(f"process {rank()} goes on after a mistake that the main process met")
out, model, adapter = map(Path, sys.argv[1:])
with Journal(out / f"asked-{rank()}.jsonl") as journal:
    teacher = EngineTeacher(TransformersEngine(model, adapter=adapter, device="cpu"), journal, unit=6)
    shares = teacher.label_probabilities(load("kaomoji", "calibrate")[:24])
result = [rank(), [by for by, _ in done], [share.tolist() for share in shares]]
(out / f"result-{rank()}.json").write_text(json.dumps(result))
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_processes_share_the_asking_out_as_they_are_free_and_one_alone_asks_nothing_again(tmp_path: Path) -> None:
    (tmp_path / "shared.py").write_text(SHARED)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    model, arguments = embedded_base(), [str(tmp_path), str(embedded_base()), str(ADAPTER)]
    subprocess.run([*torchrun, str(tmp_path / "shared.py"), *arguments], check=True, env=environment, cwd=ROOT)
    results = sorted(tmp_path.glob("result-*.json"))  # files: lines of two processes on one pipe can mix
    (first, by, shares), (second, by_too, shares_too) = (json.loads(path.read_text()) for path in results)
    assert {first, second} == {0, 1}
    assert by == by_too
    assert by.count(by[0]) < 6, "the process that was slow took fewer"
    assert shares == shares_too
    journals = sorted(tmp_path.glob("asked-*.jsonl"))
    assert len(journals) == 2
    with Journal(journals[0], beside=journals[1:]) as journal:
        teacher = EngineTeacher(TransformersEngine(model, adapter=ADAPTER, device="cpu"), journal, unit=8)
        again = teacher.label_probabilities(load("kaomoji", "calibrate")[:24])
        assert journal.added == 0
    assert [share.tolist() for share in again] == shares


def test_zero_3_that_would_leave_pieces_is_refused_before_it_trains() -> None:
    gathering = {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True}
    for zero in (gathering, {"stage": 2}):
        refuse_sharded_result(HfDeepSpeedConfig({"zero_optimization": zero}))
    with pytest.raises(UserError, match="zero3_save_16bit_model: true"):
        refuse_sharded_result(HfDeepSpeedConfig({"zero_optimization": {"stage": 3}}))


def test_a_single_process_does_everything_itself() -> None:
    assert distributed_map([1, 2, 3], lambda unit: 2 * unit) == [2, 4, 6]
