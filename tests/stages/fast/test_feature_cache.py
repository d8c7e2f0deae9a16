"""Kept features change no loss, are used only for a frozen tower of a known family, and what is done is printed."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from emocaliber.core.prompting import load_template
from emocaliber.data.embedded import load
from emocaliber.models.location import embedded_base
from emocaliber.stages.examples import TrainingExample
from emocaliber.stages.fast.feature_cache import epochs_of, use_kept_features
from emocaliber.stages.fast.packing import use_packing
from emocaliber.stages.fast.vision_features import picture_key
from emocaliber.stages.loading import load_processor, load_trainable
from emocaliber.stages.recipe import Recipe, load_recipe
from emocaliber.stages.supervised import train_supervised, trainer_keys
from emocaliber.stages.training import read_log
from tests.stages.families import FAMILIES

RECIPE = Path(__file__).parents[3] / "recipes" / "tiny" / "1-label.yaml"
SHORT = ["max_steps=4", "per_device_train_batch_size=6", "logging_steps=1", "save_steps=100"]


def recipe(*overrides: str) -> Recipe:
    return load_recipe(RECIPE, trainer_keys(), [*SHORT, *overrides])


def examples(count: int) -> list[TrainingExample]:
    template = load_template("label")
    chosen = [sample for task in ("kaomoji", "emoji") for sample in [s for s in load(task) if s.label][: count // 2]]
    return [TrainingExample(sample, template.write(label=sample.label)) for sample in chosen]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_kept_features_change_no_loss(workers: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = {}
    for keep in ("true", "false"):
        chosen = recipe(f"keep_features={keep}", f"dataloader_num_workers={workers}")
        out = tmp_path / keep
        out.mkdir()
        train_supervised(chosen, examples(12), str(embedded_base()), None, out, title=keep)
        logs[keep] = [(line["loss"], line["grad_norm"]) for line in read_log(out / "log.jsonl") if "loss" in line]
    assert len(logs["true"]) == 4
    for first, other in zip(logs["true"], logs["false"], strict=True):
        assert first == pytest.approx(other, rel=1e-4)
    assert "one pass through the frozen vision tower for 12 pictures" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("family", "changes", "reason"),
    [
        ("qwen2.5-vl", {"tuning": "full"}, "it learns"),
        ("qwen2.5-vl", {"lora_target": r".*\.visual\..*\.qkv"}, "it learns"),
        ("qwen3-vl", {"lora_target": r".*(visual|language_model).*proj"}, "it learns"),
        ("smolvlm", {}, "smolvlm cannot be kept"),
        ("internvl", {"lora_target": r".*vision_tower.*q_proj"}, "it learns"),
    ],
)
def test_otherwise_pictures_go_through_the_tower_and_the_reason_is_printed(
    family: str, changes: dict[str, Any], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, processor = FAMILIES[family]()
    assert use_kept_features(dataclasses.replace(recipe(), **changes), model, processor, tmp_path) is None
    assert reason in capsys.readouterr().out


def test_features_are_kept_together_with_packing_in_bfloat16(tmp_path: Path) -> None:
    model, processor = FAMILIES["internvl"]()
    model.to(torch.bfloat16)
    assert use_kept_features(recipe(), model, processor, tmp_path) is not None
    use_packing(model)


def test_each_picture_gets_its_own_features_when_two_threads_prepare_batches(tmp_path: Path) -> None:
    model, processor = FAMILIES["qwen2.5-vl"]()
    reader = use_kept_features(recipe(), model, processor, tmp_path)
    assert reader is not None
    noise = np.random.default_rng(0)
    pictures = [Image.fromarray(noise.integers(0, 255, (32, 64, 3), np.uint8)) for _ in range(64)]
    keys = [picture_key(picture) for picture in pictures]
    ready = Barrier(2)

    def prepare(first: int) -> None:
        ready.wait()
        for n in range(first, len(pictures), 8):
            assert reader.keep(pictures[n : n + 4], keys[n : n + 4])

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(prepare, (0, 4)))
    tower = reader._computed(dict(zip(keys, pictures, strict=True)))
    for key in keys:
        torch.testing.assert_close(reader.store.read([key]), tower[key][0], rtol=1e-4, atol=1e-4)


def test_nothing_is_kept_where_the_recipe_says_so(tmp_path: Path) -> None:
    model, processor = FAMILIES["qwen2.5-vl"]()
    assert use_kept_features(recipe("keep_features=false"), model, processor, tmp_path) is None


def test_a_trained_adapter_on_the_language_model_leaves_the_tower_frozen(tmp_path: Path) -> None:
    chosen, model = recipe(), str(embedded_base())
    assert use_kept_features(chosen, load_trainable(chosen, model, None), load_processor(model), tmp_path) is not None


def test_an_adapter_that_changes_the_tower_keeps_training_there_under_the_same_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = str(embedded_base())
    model = load_trainable(recipe(r"lora_target=.*(q_proj|visual.*qkv)"), base, None)
    names = set(model.state_dict())
    assert use_kept_features(recipe(), model, load_processor(base), tmp_path) is None
    assert "the adapter changes it" in capsys.readouterr().out
    assert set(model.state_dict()) == names


def test_epochs_follow_from_steps_or_from_the_recipe() -> None:
    assert epochs_of(recipe(), 12) == 2
    assert epochs_of(recipe("max_steps=-1", "num_train_epochs=1.5"), 12) == 1.5
