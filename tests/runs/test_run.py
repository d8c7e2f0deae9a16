"""The whole road runs, loses no row, and ends the same however often it is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from emocaliber.cli import main
from emocaliber.core.predictions import Source, read_predictions
from emocaliber.core.prompting import load_template
from emocaliber.generation.readouts import read_records, responses_file
from emocaliber.runs.judging import answers_folder, predict_stage
from emocaliber.stages.calibrate.held_out import kept_step
from tests.runs.conftest import RECIPES, ROWS
from tests.runs.few_rows import few_rows
from tests.runs.short_runs import model_of

pytestmark = pytest.mark.slow

STEPS = ("1-label", "2-verbalize", "3-calibrate", "predictions/stage-1", "predictions/stage-2", "predictions/stage-3")


def command(recipes: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "emocaliber", "run", str(recipes), "--out", str(out)]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def finished(small_recipes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    subprocess.run(command(small_recipes, out), check=True, env=environment())
    return out


def test_every_sample_has_a_row_in_every_read_out(finished: Path) -> None:
    for stage, names in ((1, ["probability"]), (2, ["stated"]), (3, ["stated", "expected", "probability"])):
        for name in names:
            rows = list(read_predictions(finished / "predictions" / f"stage-{stage}" / f"{name}.test.jsonl"))
            assert len({row.id for row in rows}) == ROWS["test"]
    assert {row.source for row in rows} == {Source.LOGPROB}


def test_the_report_is_one_file_that_names_its_bars(finished: Path) -> None:
    page = (finished / "report" / "report.html").read_text()
    assert "Brier score" in page
    assert "https://" not in page.replace("https://arxiv.org", "")


def test_the_report_names_the_step_whose_adapter_was_kept(finished: Path) -> None:
    stages = json.loads((finished / "report" / "report.json").read_text())["stages"]
    selected = json.loads((finished / "3-calibrate" / "adapter" / "step.json").read_text())["step"]
    assert [stage["selected_step"] for stage in stages] == [None, None, selected]
    assert selected > 0
    assert stages[2]["verdict"].startswith("Stage 3 is kept: on 8 held-out rows")
    assert stages[2]["verdict"].partition(" (")[0] in (finished / "report" / "report.md").read_text()


def test_baselines_are_set_beside_it_in_its_report_on_the_same_rows(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    assert main(["compare", str(run)]) == 0
    card = json.loads((run / "baselines" / "scorecard.json").read_text())
    assert {scores["n"] for method in card["methods"] for scores in method["scores"][:1]} == {ROWS["test"]}
    assert {"stage 3, stated", "softmax", "tmc", "ter", "amber2"} <= {method["name"] for method in card["methods"]}
    assert "Comparison with evidential and other baselines" in (run / "report" / "report.html").read_text()
    assert (run / "report" / "scorecard.json").read_bytes() == (finished / "report" / "scorecard.json").read_bytes()
    capsys.readouterr()
    assert main(["compare", str(run)]) == 0
    assert capsys.readouterr().out.count("already done") == 7
    inputs = run / "predictions" / "stage-3" / "inputs.json"
    inputs.write_text(json.dumps(json.loads(inputs.read_text()) | {"model": "another"}))
    assert main(["compare", str(run)]) == 2
    assert "has changed since" in capsys.readouterr().err


def test_a_second_run_does_nothing_again(small_recipes: Path, finished: Path) -> None:
    done = {step: (finished / step / "done.json").stat().st_mtime_ns for step in STEPS}
    subprocess.run(command(small_recipes, finished), check=True, env=environment())
    assert done == {step: (finished / step / "done.json").stat().st_mtime_ns for step in STEPS}


def killed_when(process: subprocess.Popen[bytes], there: Any) -> None:
    while process.poll() is None and not there():
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_run_killed_in_every_step_ends_as_an_uninterrupted_one(
    small_recipes: Path, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    for step in STEPS:
        process = subprocess.Popen(command(small_recipes, out), env=environment())
        sign = "checkpoints/checkpoint-8" if step[0].isdigit() else "inputs.json"
        killed_when(process, (out / step / sign).exists)
        assert not (out / step / "done.json").exists()
    subprocess.run(command(small_recipes, out), check=True, env=environment())
    for step in STEPS[:3]:
        first, again = (run / step / "adapter" / "adapter_model.safetensors" for run in (out, finished))
        assert first.read_bytes() == again.read_bytes(), step
    first, again = (json.loads((run / "report" / "scorecard.json").read_text()) for run in (out, finished))
    assert first == again


def test_an_answer_that_a_tokenizer_writes_in_digits_is_not_cut(models: Path, tmp_path: Path) -> None:
    base, data = model_of("qwen2.5-vl", models), few_rows(tmp_path / "few.parquet", {"calibrate": 2, "test": 4})
    adapter, out = tmp_path / "adapter", tmp_path / "out"
    every = r".*language_model.*(q|k|v|o|gate|up|down)_proj"
    targets = LoraConfig(r=8, lora_alpha=64, target_modules=every, init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(AutoModelForImageTextToText.from_pretrained(base), targets).save_pretrained(adapter)
    predict_stage(3, str(base), adapter, (str(data),), "label-confidence", "cpu", out)
    answer = load_template("label-confidence").write(label="disappointment", confidence=0.85)
    needed = len(AutoProcessor.from_pretrained(base).tokenizer(answer)["input_ids"]) + 1  # and the end of the turn
    responses = [record.response for record in read_records(responses_file(answers_folder(out, "test"), 0))]
    assert len(responses) == 4
    assert all(response.tokens >= needed for response in responses if response.finish_reason == "length")
    assert max(response.tokens for response in responses) >= needed > 12


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"learning_rat": 1}, "did you mean 'learning_rate'"),
        ({"data": ["none.parquet"]}, "there is no file 'none.parquet'"),
        ({"splits": ["nowhere"]}, "no row belongs to nowhere"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    small_recipes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], sentence: str
) -> None:
    recipe = yaml.safe_load((small_recipes / "1-label.yaml").read_text()) | change
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    assert main(["train", str(path), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert sentence in message
    assert len(message.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_grpo_goes_on_from_stage_2_on_pictures_of_two_sizes_and_is_left_out_where_it_gains_nothing(
    finished: Path, small_recipes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = yaml.safe_load((RECIPES / "3-calibrate-grpo.yaml").read_text())
    recipe |= {"data": [*yaml.safe_load((small_recipes / "3-calibrate.yaml").read_text())["data"], "emoji"]}
    recipe |= {"max_steps": 2, "save_steps": 1, "logging_steps": 1, "per_device_train_batch_size": 16}
    recipe |= {"gain_alpha": 1e-9}
    path = tmp_path / "grpo.yaml"
    path.write_text(yaml.safe_dump(recipe))
    adapter = finished / "2-verbalize" / "adapter"
    assert main(["train", str(path), "--adapter", str(adapter), "--out", str(tmp_path / "out")]) == 0
    held = [json.loads(line) for line in (tmp_path / "out" / "held_out.jsonl").read_text().splitlines()]
    assert [line["step"] for line in held] == [0, 1, 2]
    before, after = (
        load_file(folder / "adapter_model.safetensors") for folder in (adapter, tmp_path / "out" / "adapter")
    )
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert kept_step(tmp_path / "out" / "adapter") == 0
    assert not (tmp_path / "out" / "start").exists()
    assert "Stage 3 is left out, and stage 2's weights are the result: on " in capsys.readouterr().out
