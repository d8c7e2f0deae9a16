"""Does DeepSpeed shard what it should, and learn the same? Two processes over gloo on a CPU, with ZeRO-2 and ZeRO-3,
are compared with one process with twice the batch. Exit code 1 if a process holds more than its share or learns
something else.

This is not part of the test suite: DeepSpeed compiles a C++ extension on its first start (a minute or more), and once
installed it is imported by every trainer. tests/runs/test_processes.py tests what needs no DeepSpeed.

    pip install 'emocaliber[deepspeed]'
    OMP_NUM_THREADS=1 python eval/benchmarks/sharding.py --out out/sharding
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors.torch import load_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from emocaliber.core.prompting import load_template
from emocaliber.models.location import model_folder
from emocaliber.runs.recipes import read_recipe
from emocaliber.runs.resume import samples_of
from emocaliber.runs.train import join
from emocaliber.stages.supervised import train_supervised
from emocaliber.stages.targets import label_examples
from emocaliber.stages.training import MODEL, read_log

RECIPE = Path("recipes/tiny/1-label.yaml")
STEPS = 5
SHORT = [f"max_steps={STEPS}", "logging_steps=1", "save_steps=1000", "tuning=full", "learning_rate=0.0001",
         "warmup_steps=0", "lr_scheduler_type=constant", "gradient_accumulation_steps=1",
         "dataloader_num_workers=0"]  # fmt: skip
WAYS = {"one": (1, 16), "ddp": (2, 8), "zero2": (2, 8), "zero3": (2, 8)}  # processes, and rows of each
STAGES = {"zero2": 2, "zero3": 3}
SLACK = 0.02  # padding of the shares
LOSS_GAP, WEIGHT_GAP = 1e-3, 1e-3


def deepspeed(stage: int) -> dict[str, Any]:
    """Settings with PyTorch's optimiser: DeepSpeed's for the CPU would have to be compiled."""
    zero = {"stage": stage, "stage3_param_persistence_threshold": 0, "stage3_gather_16bit_weights_on_model_save": True}
    automatic = ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping")
    return {
        "zero_optimization": zero if stage == 3 else {"stage": stage},
        "zero_force_ds_cpu_optimizer": False,
        **dict.fromkeys(automatic, "auto"),
    }


class Shares(TrainerCallback):
    """After the first step: the number of weights and of optimiser states that this process holds."""

    def __init__(self, out: Path, stage: int) -> None:
        self.out, self.stage = out, stage

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **named: Any) -> None:
        if state.global_step != 1:
            return
        weights, optimiser = list(named["model"].parameters()), named["optimizer"]
        if self.stage:
            optimiser = optimiser.optimizer.optimizer  # accelerate's wrapper, then ZeRO's
        total = sum(p.ds_numel if self.stage == 3 else p.numel() for p in weights)
        held_shares = sum(p.ds_tensor.numel() if self.stage == 3 else p.numel() for p in weights)
        moments = [
            state[key] for state in optimiser.state.values() for key in ("exp_avg", "exp_avg_sq") if key in state
        ]
        sizes = {
            "processes": PartialState().num_processes,
            "parameters": total,
            "weights": held_shares,
            "moments": sum(moment.numel() for moment in moments),
        }
        (self.out / f"shares-{PartialState().process_index}.json").write_text(json.dumps(sizes))


def work(way: str, out: Path) -> None:
    """One process of a run."""
    (size, rows), stage = WAYS[way], STAGES.get(way, 0)
    overrides = [*SHORT, f"per_device_train_batch_size={rows}"]
    if stage:
        overrides.append(f"deepspeed={json.dumps(deepspeed(stage))}")
    recipe = read_recipe(RECIPE, overrides)
    processes = join(recipe)
    if processes.num_processes != size:
        raise SystemExit(f"{way}: {processes.num_processes} processes instead of {size}")
    out.mkdir(parents=True, exist_ok=True)
    examples = label_examples(samples_of(recipe.data, recipe.splits)[: 16 * STEPS], load_template(recipe.template))
    train_supervised(recipe, examples, model_folder(recipe.model), None, out, title=way, callbacks=[Shares(out, stage)])


def launch(way: str, out: Path) -> None:
    """Start a run in as many processes as it needs."""
    size = WAYS[way][0]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(size)] if size > 1 else []
    subprocess.run([sys.executable, *torchrun, __file__, "--work", way, "--out", str(out)], check=True)


def judge(way: str, out: Path, reference: Path) -> bool:
    """Print a table row; returns whether loss, weights and shares are as expected."""
    shares = [json.loads(file.read_text()) for file in sorted(out.glob("shares-*.json"))]
    losses, expected = ([line["loss"] for line in read_log(run / "log.jsonl")[:STEPS]] for run in (out, reference))
    gap = max(abs(a - b) for a, b in zip(losses, expected, strict=True))
    mine, theirs = (load_file(run / MODEL / "model.safetensors") for run in (out, reference))
    apart = max(float((mine[name] - theirs[name]).abs().max()) for name in theirs)
    total, size = shares[0]["parameters"], shares[0]["processes"]
    totals = (("weights", total), ("moments", 2 * total))
    held_shares = [max(share[kind] for share in shares) / total for kind, total in totals]
    stage = STAGES.get(way, 0)
    expected = [1 / size if stage == 3 else 1.0, 1 / size if stage else 1.0]
    print(
        f"| {way} | {len(shares)} of {size} | {held_shares[0]:.1%} | {held_shares[1]:.1%} | {gap:.1e} | {apart:.1e} |"
    )
    fair = all(abs(a - b) < SLACK for a, b in zip(held_shares, expected, strict=True))
    return fair and len(shares) == size == WAYS[way][0] and gap < LOSS_GAP and apart < WEIGHT_GAP


def main() -> None:
    """Run every way and print the table."""
    parser = argparse.ArgumentParser(description="DeepSpeed's ZeRO-2 and ZeRO-3 over gloo beside one process.")
    parser.add_argument("--out", type=Path, required=True, help="an empty folder for the runs")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--work", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        return work(arguments.work, arguments.out)
    for way in arguments.ways:
        launch(way, arguments.out / way)
    print(f"torch {torch.__version__}; largest share of one process, largest gap to one process with twice the batch")
    print("| way | processes | weights | optimiser states | loss | weights apart |\n|---|---|---|---|---|---|")
    right = [judge(way, arguments.out / way, arguments.out / "one") for way in arguments.ways]
    raise SystemExit(not all(right))


if __name__ == "__main__":
    main()
