"""The recipes' stages run two steps on a tiny model of each family's true architecture, quantised and in full too."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from emocaliber.cli import main
from emocaliber.core.predictions import read_predictions
from emocaliber.core.prompting import load_template
from emocaliber.data.embedded import FILES
from emocaliber.data.parquet import read_samples
from emocaliber.generation.adapters import vision_weights
from emocaliber.models.location import embedded_base
from emocaliber.runs.export import export
from emocaliber.runs.finished import finished_stage
from emocaliber.runs.recipes import read_recipe
from emocaliber.stages.calibrate.reinforcement import calibrate_by_grpo
from emocaliber.stages.examples import TrainingExample
from emocaliber.stages.loading import load_base
from emocaliber.stages.supervised import train_supervised
from emocaliber.stages.training import Log
from tests.runs.short_runs import EVERY_WAY, FOLDER, ON_CPU, RECIPES, answers, losses, model_of, overrides, three_stages

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("family", FOLDER)
def test_the_three_stages_run_on_each_familys_architecture(
    family: str, few: Path, models: Path, tmp_path: Path
) -> None:
    stage_1, stage_2, stage_3 = three_stages(family, model_of(family, models), few, tmp_path)
    for out in (stage_1, stage_2, stage_3):
        assert len(losses(out)) == 2
        assert all(map(math.isfinite, losses(out)))
        assert vision_weights(out / "adapter") == []
    first, second = (load_file(out / "adapter" / "adapter_model.safetensors") for out in (stage_2, stage_3))
    assert any(not torch.equal(first[name], second[name]) for name in first)
    assert [json.loads(line)["step"] for line in (stage_3 / "held_out.jsonl").read_text().splitlines()] == [0, 1, 2]


@pytest.mark.parametrize(
    ("family", "quantization"),
    [*((family, "none") for family in (*EVERY_WAY, "qwen3.5", "lfm2-vl", "gemma-4")), ("qwen3-vl", "int8")],
)
def test_grpo_runs_two_steps_on_each_familys_architecture(
    family: str, quantization: str, few: Path, models: Path, tmp_path: Path
) -> None:
    path, model = RECIPES / FOLDER[family] / "3-calibrate-grpo.yaml", model_of(family, models)
    own = [] if read_recipe(path).max_pixels is None else ["max_pixels=4096"]
    short = ["use_vllm=false", "num_generations=2", "max_completion_length=4", f"quantization={quantization}"]
    recipe, examples = read_recipe(path, overrides(model, few, *own, *short)), answers(few)
    calibrate_by_grpo(recipe, examples[:4], examples[4:], str(model), None, tmp_path)
    assert len(losses(tmp_path)) == 2
    assert all(map(math.isfinite, losses(tmp_path)))
    assert vision_weights(tmp_path / "adapter") == []
    assert [json.loads(line)["step"] for line in (tmp_path / "held_out.jsonl").read_text().splitlines()] == [0, 1, 2]


@pytest.mark.parametrize("family", EVERY_WAY)
def test_a_projector_learns_in_every_stage_and_goes_into_the_merged_model(
    family: str, few: Path, models: Path, tmp_path: Path
) -> None:
    model = model_of(family, models)
    outs = three_stages(family, model, few, tmp_path, "train_projector=true", "packing=true", "learning_rate=0.01")
    learned = [load_file(out / "adapter" / "adapter_model.safetensors") for out in outs]
    names = [name for name in learned[0] if "lora_" not in name]
    assert names
    base = AutoModelForImageTextToText.from_pretrained(model, dtype=torch.float32).state_dict()
    weights = [{name.removeprefix("base_model.model."): each[name] for name in names} for each in learned]
    for before, after in zip([base, *weights[:-1]], weights, strict=True):
        assert any(not torch.equal(before[name], after[name]) for name in after)
    merged = export(finished_stage(outs[1]), tmp_path / "merged", merge=True, scorecard=None)
    combined = AutoModelForImageTextToText.from_pretrained(merged, dtype=torch.float32).state_dict()
    assert all(torch.equal(combined[name], weight) for name, weight in weights[1].items())


@pytest.mark.parametrize("family", ["internvl", "qwen3-vl"])
def test_a_projector_learns_by_grpo_beside_its_frozen_start(
    family: str, few: Path, models: Path, tmp_path: Path
) -> None:
    path, model = RECIPES / FOLDER[family] / "3-calibrate-grpo.yaml", model_of(family, models)
    own = [] if read_recipe(path).max_pixels is None else ["max_pixels=4096"]
    short = ["use_vllm=false", "num_generations=2", "max_completion_length=4", "train_projector=true"]
    recipe, examples = (
        read_recipe(path, overrides(model, few, *own, *short, "beta=0.1", "temperature=2.0")),
        answers(few),
    )
    calibrate_by_grpo(recipe, examples[:4], examples[4:], str(model), None, tmp_path)
    assert all(map(math.isfinite, losses(tmp_path)))
    assert any("lora_" not in name for name in load_file(tmp_path / "adapter" / "adapter_model.safetensors"))


@pytest.mark.parametrize("variant", ["quantization=nf4", "quantization=int8", "optim=adamw_bnb_8bit", "tuning=full"])
def test_the_variants_run_two_steps(variant: str, few: Path, models: Path, tmp_path: Path) -> None:
    recipe = RECIPES / FOLDER["qwen2.5-vl"] / "1-label.yaml"
    changes = overrides(model_of("qwen2.5-vl", models), few, variant, "max_pixels=3136")
    assert main(["train", str(recipe), *changes, "--out", str(tmp_path / "1")]) == 0
    assert all(map(math.isfinite, losses(tmp_path / "1")))
    if variant == "tuning=full":
        AutoModelForImageTextToText.from_pretrained(tmp_path / "1" / "model", use_safetensors=True)


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
@pytest.mark.parametrize("family", FOLDER)
def test_the_language_model_alone_is_quantised(family: str, quantization: str, models: Path) -> None:
    recipe = read_recipe(RECIPES / FOLDER[family] / "1-label.yaml", [*ON_CPU, f"quantization={quantization}"])
    kinds = {
        name: type(module).__name__ for name, module in load_base(recipe, str(model_of(family, models))).named_modules()
    }
    held = [name for name, kind in kinds.items() if kind in {"Linear4bit", "Linear8bitLt"}]
    assert held
    assert all(re.search(r"(language_model|text_model)\.layers\.", name) for name in held)


def test_what_tensorboard_shows_outlives_the_checkpoints(few: Path, models: Path, tmp_path: Path) -> None:
    changes = overrides(model_of("qwen3-vl", models), few, "max_pixels=4096", "report_to=tensorboard")
    assert main(["train", str(RECIPES / "qwen3-vl-4b" / "1-label.yaml"), *changes, "--out", str(tmp_path / "1")]) == 0
    assert not (tmp_path / "1" / "checkpoints").exists()
    (board,) = (tmp_path / "1" / "runs").rglob("events.out.tfevents.*")
    assert b"train/loss" in board.read_bytes()


def learned(few: Path, models: Path, out: Path, *changes: str) -> tuple[list[float], Any]:
    """The losses and weights of stage 1 on 8 rows, plain SGD so that sums show."""
    model = model_of("qwen3-vl", models)
    plain = ["optim=sgd", "lr_scheduler_type=constant", "warmup_steps=0", "learning_rate=0.05", "max_pixels=4096"]
    recipe = read_recipe(RECIPES / "qwen3-vl-4b" / "1-label.yaml", overrides(model, few, *plain, *changes))
    template = load_template("label")
    examples = [TrainingExample(s, template.write(label=s.label)) for s in read_samples(few, "train")]
    train_supervised(recipe, examples, str(model), None, out, title="label")
    return losses(out), load_file(out / "adapter" / "adapter_model.safetensors")


def test_accumulating_8_rows_is_a_batch_of_8(few: Path, models: Path, tmp_path: Path) -> None:
    batch_of_1 = learned(few, models, tmp_path / "a", "per_device_train_batch_size=1", "gradient_accumulation_steps=8")
    batch_of_8 = learned(few, models, tmp_path / "b", "per_device_train_batch_size=8", "gradient_accumulation_steps=1")
    assert batch_of_1[0] == pytest.approx(batch_of_8[0], abs=1e-4)
    assert all(torch.allclose(batch_of_1[1][name], batch_of_8[1][name], atol=1e-5) for name in batch_of_1[1])


def test_a_merged_model_answers_as_base_and_adapter_do(few: Path, models: Path, tmp_path: Path) -> None:
    model = model_of("qwen3-vl", models)
    recipe = str(RECIPES / "qwen3-vl-4b" / "1-label.yaml")
    changes = overrides(model, few, "max_pixels=4096", "learning_rate=0.01")
    assert main(["train", recipe, *changes, "--out", str(tmp_path / "1")]) == 0
    merged = export(finished_stage(tmp_path / "1"), tmp_path / "merged", merge=True, scorecard=None)
    ids = torch.arange(20, 40)[None]
    with torch.inference_mode():
        base: Any = AutoModelForImageTextToText.from_pretrained(model, dtype=torch.float32)
        before = base(input_ids=ids).logits
        beside = PeftModel.from_pretrained(base, str(tmp_path / "1" / "adapter"))(input_ids=ids).logits
        combined = AutoModelForImageTextToText.from_pretrained(merged, dtype=torch.float32)(input_ids=ids).logits
    assert torch.allclose(beside, combined, atol=1e-5)
    assert not torch.allclose(before, combined, atol=1e-5)
    card = (merged / "README.md").read_text()
    assert "Not judged yet" in card
    assert "learning_rate: 0.01" in card
    assert json.loads((merged / "processor_config.json").read_text())["image_processor"]["size"]["longest_edge"] == 4096


def test_a_changed_recipe_is_refused_and_the_difference_shown(
    few: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(RECIPES / "qwen3-vl-4b" / "1-label.yaml")
    changes = overrides(model_of("qwen3-vl", models), few, "max_pixels=4096")
    assert main(["train", recipe, *changes, "--out", str(tmp_path / "1")]) == 0
    weights = (tmp_path / "1" / "adapter" / "adapter_model.safetensors").read_bytes()
    assert main(["train", recipe, *changes, "learning_rate=0.5", "--out", str(tmp_path / "1")]) == 2
    assert "recipe.trainer.learning_rate: 0.0001 is now 0.5" in capsys.readouterr().err
    assert (tmp_path / "1" / "adapter" / "adapter_model.safetensors").read_bytes() == weights


class StopError(Exception):
    pass


def stop_at_the_first_step(*_: Any, **__: Any) -> None:
    raise StopError


@pytest.mark.parametrize("beside", [False, True], ids=["pictures within the file", "pictures beside it"])
def test_changed_data_between_a_stop_and_its_resumption_are_refused(
    beside: bool,
    few: Path,
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = own_copy(few, tmp_path, beside=beside)
    changes = overrides(model_of("qwen3-vl", models), data, "max_pixels=4096")
    command = ["train", str(RECIPES / "qwen3-vl-4b" / "1-label.yaml"), *changes, "--out", str(tmp_path / "1")]
    with monkeypatch.context() as stop:
        stop.setattr(Log, "on_log", stop_at_the_first_step)
        with pytest.raises(StopError):
            main(command)
    left = sorted(path for path in (tmp_path / "1").rglob("*"))
    if beside:
        (tmp_path / "0.png").write_bytes((tmp_path / "1.png").read_bytes())
    else:
        pq.write_table(pq.read_table(data).slice(1), data)
    assert main(command) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(r"(pictures|data\..*few\.parquet): '[0-9a-f]{16}' is now '[0-9a-f]{16}'", message)
    assert sorted(path for path in (tmp_path / "1").rglob("*")) == left


def own_copy(few: Path, folder: Path, *, beside: bool) -> Path:
    """The same rows in a file of one's own, their pictures as files beside it where asked for."""
    table, path = pq.read_table(few), folder / "few.parquet"
    if beside:
        encoded = [row["bytes"] for row in table["image"].to_pylist()]
        for n, picture in enumerate(encoded):
            (folder / f"{n}.png").write_bytes(picture)
        names = pa.array([{"bytes": None, "path": f"{n}.png"} for n in range(len(encoded))], table["image"].type)
        table = table.set_column(table.column_names.index("image"), table.schema.field("image"), names)
    pq.write_table(table, path)
    return path


def test_an_evaluation_leaves_a_row_for_every_picture_and_a_scorecard(few: Path, models: Path, tmp_path: Path) -> None:
    table = pq.read_table(FILES["kaomoji"])
    parts = [table.filter(pc.equal(table["split"], split)).slice(0, 6) for split in ("calibrate", "test")]
    pq.write_table(pa.concat_tables(parts), tmp_path / "rows.parquet")
    recipe = tmp_path / "evaluate.yaml"
    recipe.write_text(f"data: [{tmp_path / 'rows.parquet'}]\nmethod: tiny\nmax_new_tokens: 8\n")
    out = tmp_path / "out"
    assert main(["run", str(recipe), "--model", str(embedded_base()), "--seed", "7", "--out", str(out)]) == 0
    assert (out / "scorecard.md").is_file()
    manifests = list(out.glob("answers/*/*/manifest.json"))
    assert {json.loads(path.read_text())["settings"]["seed"] for path in manifests} == {7}
    for split in ("calibrate", "test"):
        assert len(list(read_predictions(out / "rows" / f"stated.{split}.jsonl"))) == 6


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["model=nowhere/at-all"], "the model cannot be loaded"),
        (["lora_target=.*text_model.*"], "lora_target matches no module"),
        ([r"lora_target=.*\.(q_proj|v_proj)"], "none in mlp of 2"),
        (["model=TEXT"], "this is no vision-language model"),
        (["use_cpu=false"], "there is no GPU here"),
        (["report_to=codecarbon"], "codecarbon is not installed here"),
        ([f"model={RECIPES / 'tiny'}"], "holds no *.safetensors"),
        (["model=BROKEN"], "the file is broken off"),
        (["template=label", "--adapter", str(RECIPES / "tiny")], "no adapter lies here"),
    ],
)
def test_what_is_missing_is_one_sentence(
    few: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    changes: list[str], sentence: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    if "no GPU" in sentence and torch.cuda.is_available():
        return
    recipe = str(RECIPES / "qwen3-vl-4b" / "1-label.yaml")
    broken = shutil.copytree(model_of("qwen3-vl", models), tmp_path / "broken") / "model.safetensors"
    broken.write_bytes(broken.read_bytes()[:-1000])
    text = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    (shutil.copytree(model_of("qwen3-vl", models), tmp_path / "text") / "config.json").write_text(json.dumps(text))
    places = {"BROKEN": str(broken.parent), "TEXT": str(tmp_path / "text")}
    changes = [re.sub("BROKEN|TEXT", lambda match: places[match.group()], change) for change in changes]
    options = overrides(model_of("qwen3-vl", models), few, "max_pixels=4096", *changes)
    assert main(["train", recipe, *options, "--out", str(tmp_path / "1")]) == 2
    assert sentence in capsys.readouterr().err.strip().splitlines()[-1]
