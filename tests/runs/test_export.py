"""An exported model is base plus adapter, rounded once to the base's type; its card gives the scorecard's figures, and
nothing of this machine."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import write_predictions
from emocaliber.core.prompting import load_template
from emocaliber.models.location import question_of, read_question, write_question
from emocaliber.runs.export import export
from emocaliber.runs.finished import Finished
from emocaliber.runs.scoring import score_files
from tests.core.fake_hub import FakeHub
from tests.prediction_rows import predictions
from tests.stages.families import qwen3_vl

LANGUAGE = r".*language_model.*\.(q_proj|up_proj)"


@pytest.fixture(params=[torch.bfloat16, torch.float32], ids=["bfloat16", "float32"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Finished:
    """What a finished stage leaves on a base of this type; the adapter's B matrices are noise."""
    torch.manual_seed(0)
    base, processor = qwen3_vl()
    base.to(request.param).save_pretrained(tmp_path / "base")
    processor.save_pretrained(tmp_path / "base")
    adapted = get_peft_model(base.float(), LoraConfig(r=2, target_modules=LANGUAGE, task_type="CAUSAL_LM"))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    adapted.save_pretrained(tmp_path / "stage" / "adapter")
    recipe = {"model": str(tmp_path / "base"), "tuning": "lora", "stage": "label", "template": "label"}
    recipe |= {"splits": ["train"], "max_pixels": None, "trainer": {}}
    return Finished(tmp_path / "stage", recipe, {"data": {}})


def test_an_export_keeps_the_type_of_its_base_and_is_rounded_once(stage: Finished, tmp_path: Path) -> None:
    own_type = next(iter(load_file(Path(stage.base) / "model.safetensors").values())).dtype
    folder = export(stage, tmp_path / "out", merge=True, scorecard=None)
    assert json.loads((folder / "config.json").read_text())["dtype"] == str(own_type).removeprefix("torch.")
    written = load_file(folder / "model.safetensors")
    assert {weight.dtype for weight in written.values()} == {own_type}
    base: Any = AutoModelForImageTextToText.from_pretrained(stage.base, dtype=torch.float32)
    exact = PeftModel.from_pretrained(base, str(stage.folder / "adapter")).merge_and_unload().state_dict()
    assert all(torch.equal(weight, exact[name].to(own_type)) for name, weight in written.items())


def test_a_merged_model_knows_what_it_was_trained_to_be_asked(stage: Finished, tmp_path: Path) -> None:
    asked = question_of({"mugs": ("full", "empty")}, load_template("label"), max_pixels=None, stage="label",
                        base=stage.base)  # fmt: skip
    write_question(stage.folder / "adapter", asked)
    question = read_question(export(stage, tmp_path / "out", merge=True, scorecard=None))
    assert question == msgspec.structs.replace(asked, base="base")


@pytest.fixture(scope="module")
def scorecard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judged folder: 40 answers in each of two tasks."""
    folder = tmp_path_factory.mktemp("scored")
    rows = [*predictions(n=40, task="faces"), *predictions(n=40, task="scenes", seed=1)]
    write_predictions(folder / "rows.jsonl", rows)
    score_files([folder / "rows.jsonl"], out=folder / "out", replicates=50)
    return folder / "out"


@pytest.mark.parametrize("dataset", [None, "someone/emotions"])
def test_the_cards_metadata_hold_the_scorecards_figures_by_task(
    stage: Finished, scorecard: Path, tmp_path: Path, dataset: str | None
) -> None:
    folder = export(stage, tmp_path / "shared", merge=False, scorecard=scorecard, dataset=dataset)
    card = ModelCard.load(folder / "README.md")
    figures = {
        (result.dataset_name, result.metric_type): (result.metric_value, result.metric_name)
        for result in card.data.eval_results
    }
    stored = json.loads((scorecard / "scorecard.json").read_text())
    tasks = {scores["name"]: scores for scores in stored["methods"][0]["scores"] if scores["kind"] == "task"}
    assert set(tasks) == {"faces", "scenes"} == {task for task, _ in figures}
    for (task, metric), (value, name) in figures.items():
        exact = tasks[task]["headline"][metric]
        assert value == round(exact["value"], 4)
        assert name.endswith(f"{exact['value']:.3f} [{exact['low']:.3f}, {exact['high']:.3f}], n = 40")
    assert {"accuracy", "ece", "brier"} <= {metric for _, metric in figures}
    assert (scorecard / "scorecard.md").read_text().strip() in card.text
    files = list(folder.glob(".eval_results/*"))
    assert [file.name for file in files] == (["someone--emotions.yaml"] if dataset else [])
    for file in files:
        entries = parse_eval_result_entries(yaml.safe_load(file.read_text()))
        assert {(e.dataset_id, e.task_id, e.value) for e in entries} == {
            (dataset, task, figures[task, "accuracy"][0]) for task in tasks
        }
        assert all("ECE" in str(e.notes) and "n = 40" in str(e.notes) for e in entries)


@pytest.mark.parametrize("merge", [False, True])
def test_no_file_of_an_export_says_where_it_was_made(stage: Finished, tmp_path: Path, merge: bool) -> None:
    stage.recipe["data"] = [str(tmp_path / "pictures of mine" / "rows.parquet")]
    (stage.folder / "adapter" / "emocaliber.json").write_text(json.dumps({"base": stage.base}))
    folder = export(stage, tmp_path / "shared", merge=merge, scorecard=None)
    written = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert [path.name for path, content in written.items() if str(tmp_path).encode() in content] == []
    assert "rows.parquet" in written[folder / "README.md"].decode()
    assert "model-index" not in written[folder / "README.md"].decode()


def test_a_folder_without_a_scorecard_and_a_name_that_is_none_are_refused(
    stage: Finished, scorecard: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="there is no scorecard"):
        export(stage, tmp_path / "shared", merge=False, scorecard=tmp_path)
    with pytest.raises(UserError, match=re.escape("--dataset mine: give its name on the Hub, OWNER/NAME")):
        export(stage, tmp_path / "shared", merge=False, scorecard=scorecard, dataset="mine")
    assert not (tmp_path / "shared").exists()


def test_an_export_is_sent_unless_nobody_else_has_its_base(
    stage: Finished, hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (stage.folder / "done.json").write_text(json.dumps({"inputs": {"recipe": stage.recipe, "data": {}}}))
    command = ["export", str(stage.folder), "--push", "someone/emotions", "--out", str(tmp_path / "shared")]
    assert main(command) == 2
    assert "is only on this machine; give --merge to upload both as one" in capsys.readouterr().err
    assert hub.requests == []
    assert main([*command, "--merge"]) == 0
    sent = hub.files["model", "someone/emotions"]
    assert sent == {path.name: path.read_bytes() for path in (tmp_path / "shared").iterdir()}
    assert hub.private == {("model", "someone/emotions"): True}
    assert f"Uploaded: {hub.url}/someone/emotions" in capsys.readouterr().out
