"""An exported model has the type of the base's weights, and is base plus adapter rounded once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from emocaliber.runs.export import Finished, export
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
