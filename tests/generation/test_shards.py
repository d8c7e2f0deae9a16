"""Shards: together they are the run, whatever stopped them, and what is missing is named."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import read_predictions
from emocaliber.generation.harness import generate
from emocaliber.generation.shards import Shard, merge
from emocaliber.generation.transformers_engine import TransformersEngine
from tests.generation.test_harness import BOTH, RESULTS, contents, sample

RECIPES = Path(__file__).parents[2] / "recipes" / "cluster"


@pytest.fixture(scope="module")
def engine(random_model: Path) -> TransformersEngine:
    return TransformersEngine(random_model, max_new_tokens=4, batch_size=1)


@pytest.fixture
def parts(engine: TransformersEngine, tmp_path: Path) -> list[Path]:
    """Three finished parts of ten rows, and the run without shards in `single`."""
    samples = [sample(number) for number in range(10)]
    generate(samples, engine, BOTH, tmp_path / "single", method="m")
    for number in range(1, 4):
        generate(samples, engine, BOTH, tmp_path / f"part-{number}", method="m", shard=Shard(number, 3))
    return [tmp_path / f"part-{number}" for number in range(1, 4)]


def test_merged_parts_are_the_run_without_shards(parts: list[Path], tmp_path: Path) -> None:
    merge(parts[::-1], tmp_path / "merged")
    assert contents(tmp_path / "merged") == contents(tmp_path / "single")
    counts = [len(list(read_predictions(part / "predictions.jsonl"))) for part in parts]
    assert sum(counts) == 10
    assert max(counts) < 10


def test_what_is_no_part_is_named(parts: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="shard 2/3 is missing"):
        merge([parts[0], parts[2]], tmp_path / "merged")
    with pytest.raises(UserError, match="shard 1/3 is there twice"):
        merge([parts[0], parts[0], parts[1]], tmp_path / "merged")
    with pytest.raises(UserError, match="is no part of a run"):
        merge([tmp_path / "single"], tmp_path / "merged")
    manifest = parts[1] / "manifest.json"
    stored = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(stored | {"method": "other"}))
    with pytest.raises(UserError, match="its method is not that of"):
        merge(parts, tmp_path / "merged")
    manifest.unlink()
    with pytest.raises(UserError, match="run its shard again until it has ended"):
        merge(parts, tmp_path / "merged")


def test_a_part_of_another_source_leaves_a_row_out(
    parts: list[Path], engine: TransformersEngine, tmp_path: Path
) -> None:
    generate([sample(n) for n in range(6)], engine, BOTH, parts[1], method="m", shard=Shard(2, 3))
    with pytest.raises(UserError, match="its source_rows is not that of"):
        merge(parts, tmp_path / "merged")
    others = [sample(n) for n in range(100, 110)]
    generate(others, engine, BOTH, parts[1], method="m", shard=Shard(2, 3))
    with pytest.raises(UserError, match=r"row \d+ is in no part"):
        merge(parts, tmp_path / "merged")


@pytest.mark.parametrize("text", ["0/4", "5/4", "4", "1/0", "a/b", "1/4/2"])
def test_a_shard_is_one_of_a_number(text: str) -> None:
    with pytest.raises(UserError, match=r"write NUMBER/COUNT"):
        Shard.read(text)


def test_every_row_is_in_one_shard_and_shards_are_about_alike() -> None:
    shards = [Shard(number, 4) for number in range(1, 5)]
    sizes = [sum(shard.contains(str(row)) for row in range(10_000)) for shard in shards]
    assert sum(sizes) == 10_000
    assert all(abs(size - 2_500) < 250 for size in sizes)


def test_the_recipes_for_clusters_are_well_formed() -> None:
    subprocess.run(["bash", "-n", RECIPES / "predict.slurm"], check=True)
    job = yaml.safe_load((RECIPES / "predict-kubernetes.yaml").read_text())
    script = job["spec"]["template"]["spec"]["containers"][0]["args"][0]
    assert job["spec"]["completionMode"] == "Indexed"
    assert f'/{job["spec"]["completions"]}"' in script
    subprocess.run(["bash", "-n", "-c", script], check=True)


@pytest.mark.slow
def test_four_shards_killed_at_random_and_run_again_are_one_run(tmp_path: Path) -> None:
    def command(out: str, *options: str) -> list[str]:
        options_of = ["kaomoji", "--limit", "48", "--batch-size", "1", "--device", "cpu", *options, "--out", out]
        return [sys.executable, "-m", "emocaliber", "predict", *options_of]

    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    started = time.monotonic()
    subprocess.run(command("single"), cwd=tmp_path, env=environment, check=True, capture_output=True)
    took, chance = time.monotonic() - started, random.Random(0)
    for number in range(1, 5):
        part = command(f"part-{number}", "--shard", f"{number}/4")
        run = subprocess.Popen(
            part, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(took * chance.uniform(0.3, 0.9))
        run.send_signal(signal.SIGKILL)
        run.wait()
        subprocess.run(part, cwd=tmp_path, env=environment, check=True, capture_output=True)
    parts = [f"part-{number}" for number in range(1, 5)]
    for out in ("merged", "merged.parquet"):
        merging = [sys.executable, "-m", "emocaliber", "predict", "--merge", *parts, "--out", out]
        subprocess.run(merging, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert contents(tmp_path / "merged") == contents(tmp_path / "single")
    assert [(tmp_path / "merged.parquet.answers" / name).read_bytes() for name in RESULTS] == contents(
        tmp_path / "single"
    )
    rows = list(read_predictions(tmp_path / "single" / "predictions.jsonl"))
    assert list(read_predictions(tmp_path / "merged.parquet")) == rows
