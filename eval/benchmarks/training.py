"""The cost of a training step, ours compared with plain TRL's, with the same model, images, batches and settings.

It does not measure what is learned: the losses of our variants are compared and then discarded. Each run is a process
of its own; the variants take turns, and medians are over the rounds. The images of `sizes` have sides of 56 to 280
pixels; the samples of `grpo` are sampled answers, eight per question.

    OMP_NUM_THREADS=1 python eval/benchmarks/training.py --out eval/results/training.md
    OMP_NUM_THREADS=1 python eval/benchmarks/training.py --sizes 1000 10000 --tasks      cost by number of samples alone
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from training_runs import BATCH, PLAIN, TASKS, WARM, WAYS, Run, apart, recipe_of
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from emocaliber.core.environment import usable_cores
from emocaliber.core.prompting import load_template
from emocaliber.models.location import embedded_base
from emocaliber.stages.examples import as_dataset
from emocaliber.stages.loading import load_processor


def padded_share(task: str) -> float:
    """The share of padding in a batch, over ten batches as the recipe draws them."""
    recipe = recipe_of(task, 1)
    examples = TASKS[task](10 * BATCH)
    collator = DataCollatorForVisionLanguageModeling(load_processor(str(embedded_base())), max_length=None)
    collator.completion_only_loss = True
    rows = as_dataset(examples, load_template(recipe.template))
    drop = {"example"}
    masks = [
        collator([{k: v for k, v in rows[n].items() if k not in drop} for n in range(start, start + BATCH)])
        for start in range(0, len(examples), BATCH)
    ]
    used = sum(int(mask["attention_mask"].sum()) for mask in masks)
    return 1 - used / sum(int(mask["attention_mask"].numel()) for mask in masks)


def compared(tasks: Sequence[str], steps: int, rounds: int) -> list[str]:
    """A table: each way on each task, in alternating turns."""
    lines = [
        "| task | way | samples/s, median of rounds | times plain TRL, paired (least, most) "
        "| ms of CPU a sample | times | padded share "
        "| MiB at most | before the first step, s | largest difference of a loss | of a mean reward |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for task in tasks:
        runs_by_way: dict[str, list[Run]] = {way: [] for way in WAYS[task]}
        for _ in range(rounds):
            for way in WAYS[task]:
                runs_by_way[way].append(apart(task, way, steps, steps * BATCH // 2))
        lines += [f"| {task} | {way} | {cells}" for way, cells in speed_rows(task, runs_by_way).items()]
    return lines


def speed_rows(task: str, runs_by_way: dict[str, list[Run]]) -> dict[str, str]:
    """The cells of each way. TRL's loss is a mean over tokens, ours over rows: ours are compared with each other."""
    share = None if task == "grpo" else padded_share(task)
    speed = {way: [BATCH / statistics.median(run.steps) for run in runs] for way, runs in runs_by_way.items()}
    work = {way: [BATCH / statistics.median(run.cpu) for run in runs] for way, runs in runs_by_way.items()}
    reference = runs_by_way[PLAIN if task == "grpo" else "ours, pixels"][0]
    cells = {}
    for way, runs in runs_by_way.items():
        ratios = sorted(a / b for a, b in zip(speed[way], speed[PLAIN], strict=True))
        row = [f"{statistics.median(speed[way]):.0f}"]
        row += [f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}, {ratios[-1]:.2f})"]
        row += [f"{1000 / statistics.median(work[way]):.1f}"]
        row += [f"{statistics.median(work[way]) / statistics.median(work[PLAIN]):.2f}"]
        row += ["" if share is None else f"{0 if 'packed' in way else share:.3f}"]
        row += [f"{max(run.peak_mib for run in runs):.0f}", f"{statistics.median(run.before for run in runs):.1f}"]
        row += [gap(runs[0].losses, reference.losses) if way != PLAIN else ""]
        row += [gap(runs[0].rewards, reference.rewards) if way != PLAIN else ""]
        cells[way] = " | ".join(row) + " |"
    return cells


def gap(first: Sequence[float], second: Sequence[float]) -> str:
    """The largest difference, if there is anything to compare."""
    return f"{max(abs(a - b) for a, b in zip(first, second, strict=True)):.1e}" if first else ""


def by_size(counts: Sequence[int]) -> list[str]:
    """A table: one epoch over increasing numbers of samples, with their features cached first."""
    lines = [
        "| samples | samples/s of the steps | keeping their features, samples/s | MiB at most |",
        "|---|---|---|---|",
    ]
    for count in counts:
        run = apart("kaomoji", "ours, kept features, packed", count // BATCH + 1, count)
        rate = BATCH * len(run.steps) / sum(run.steps)
        lines.append(f"| {count:,} | {rate:.0f} | {count / run.before:.0f} | {run.peak_mib:.0f} |")
    return lines


def main() -> None:
    """Run the chosen measurements, print them, and write them to a file if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", nargs="*", type=int, default=[], help="the cost by number of samples, too")
    parser.add_argument("--out", type=Path, help="a Markdown file to write")
    arguments = parser.parse_args()
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    text = f"{date.today()}, {usable_cores()} CPU cores, OMP_NUM_THREADS={threads}, tiny backbone, batches of {BATCH}."
    if arguments.tasks:
        table = compared(arguments.tasks, arguments.steps, arguments.rounds)
        protocol = (
            f"{arguments.rounds} rounds of {arguments.steps} steps, the first {WARM} not counted, the ways by turns"
        )
        text += "\n".join([f"\n\n## Side by side with TRL\n\n{protocol}:\n", *table])
    if arguments.sizes:
        table = by_size(arguments.sizes)
        text += "\n".join(["\n\n## By number of samples\n\nOne epoch of kaomoji, features kept, packed:\n", *table])
    text += "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text("# The cost of a training step\n\n" + text)


if __name__ == "__main__":
    main()
