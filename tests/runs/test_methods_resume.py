"""Stage 3 by each method: killed and run again, it ends with the adapter of an uninterrupted run, bit for bit."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import msgspec
import pytest
import yaml

from emocaliber.core.prompting import load_template
from emocaliber.data.parquet import read_samples
from emocaliber.stages.pairs import Pair
from emocaliber.stages.training import COMPLETE, read_log

ADAPTER = Path(__file__).parents[2] / "emocaliber" / "data" / "tiny-adapter"
METHODS = {
    "grpo": {"advantages": "segments", "num_generations": 4, "max_completion_length": 8, "beta": 0.0},
    "rloo": {"num_generations": 4, "max_completion_length": 8, "beta": 0.05},
    "dpo": {"beta": 0.3},
    "kto": {"beta": 0.3},
}
pytestmark = pytest.mark.slow
context = multiprocessing.get_context("forkserver")  # one import of torch for all runs; each can be killed alone
context.set_forkserver_preload(["emocaliber.runs.recipes", "emocaliber.runs.train"])


def trained(recipe: Path, out: Path) -> None:
    from emocaliber.cli import main

    if main(["train", str(recipe), "--adapter", str(ADAPTER), "--out", str(out)]):
        raise SystemExit(1)


def written(method: str, small_recipes: Path, folder: Path) -> Path:
    data = small_recipes / "few.parquet"
    recipe = yaml.safe_load((small_recipes / "3-calibrate.yaml").read_text())
    for key in ("method", "num_train_epochs", "anchor", "spread", "dataloader_num_workers"):
        recipe.pop(key)
    recipe |= {"method": method, "per_device_train_batch_size": 8, "max_steps": 4, "save_steps": 2, "logging_steps": 1}
    recipe |= {"splits": ["calibrate"], **METHODS[method]}
    if method in {"dpo", "kto"}:
        template, pairs = load_template("label-confidence"), folder / "pairs.jsonl"
        rows = [row for row in read_samples(data) if row.split == "calibrate" and row.label is not None]
        made = [
            Pair(row.id, row.task, "right", *(template.write(label=row.label, confidence=c) for c in (0.9, 0.3)), 0.4)
            for row in rows
        ]
        pairs.write_bytes(b"".join(msgspec.json.encode(pair) + b"\n" for pair in made))
        recipe |= {"pairs": str(pairs)}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def steps(run: Path) -> list[tuple[float, float]]:
    return [(line["loss"], line["grad_norm"]) for line in read_log(run / "log.jsonl") if "loss" in line]


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_training_ends_as_an_uninterrupted_one(method: str, small_recipes: Path, tmp_path: Path) -> None:
    recipe = written(method, small_recipes, tmp_path)
    for out in ("whole", "killed"):
        process = context.Process(target=trained, args=(recipe, tmp_path / out))
        process.start()
        while out == "killed" and process.is_alive():
            if (tmp_path / out / "checkpoints" / "checkpoint-2" / COMPLETE).exists():
                process.kill()
            time.sleep(0.01)
        process.join()
    assert not (tmp_path / "killed" / "done.json").exists()
    assert (tmp_path / "killed" / "asked-0.jsonl").exists()
    again = context.Process(target=trained, args=(recipe, tmp_path / "killed"))
    again.start()
    again.join()
    assert again.exitcode == 0
    assert not (tmp_path / "killed" / "asked-0.jsonl").exists()
    for file in ("held_out.jsonl", "adapter/adapter_model.safetensors"):
        uninterrupted, killed = (tmp_path / out / file for out in ("whole", "killed"))
        assert uninterrupted.read_bytes() == killed.read_bytes(), file
    # The best step's adapter may be one from before the kill; the last step's loss and gradient cannot.
    uninterrupted, killed = (steps(tmp_path / out) for out in ("whole", "killed"))
    assert uninterrupted == killed
    assert len(uninterrupted) == 4
