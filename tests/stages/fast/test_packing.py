"""A packed batch has the loss and the gradients of the padded one, and no row sees another."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from emocaliber.core.prompting import LEVEL_TEXTS, LEVELS, load_template
from emocaliber.core.samples import Sample
from emocaliber.stages.answer_paths import AnswerPaths
from emocaliber.stages.examples import TrainingExample, as_dataset
from emocaliber.stages.fast.packing import ROWS, packed, use_packing
from emocaliber.stages.fast.qwen import vision_holder
from emocaliber.stages.soft_targets import SoftTargetCollator, SoftTargetTrainer, answer_places, cross_entropy
from tests.stages.families import FAMILIES

QWEN = ["qwen2.5-vl", "qwen3-vl"]
LABELS = ("happy", "sad", "angry", "cute", "surprised", "shy")


def picture(random: np.random.Generator) -> bytes:
    width, height = (int(side) for side in random.integers(28, 180, 2))
    stream = BytesIO()
    Image.fromarray(random.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def examples(random: np.random.Generator, rows: int) -> list[TrainingExample]:
    """Pictures of many sizes, questions with few and many candidates, hard and soft targets."""
    template = load_template("label-confidence")
    made = []
    for n in range(rows):
        candidates = LABELS[: random.integers(2, len(LABELS) + 1)]
        sample = Sample(f"{n}", picture(random), "any", candidates, candidates[0], "train", "", f"{n}")
        answer = template.write(label=candidates[0], confidence=float(random.choice(LEVELS)))
        label = tuple(random.dirichlet(np.ones(len(candidates))).tolist()) if n % 3 else None
        level = tuple(random.dirichlet(np.ones(len(LEVEL_TEXTS))).tolist()) if n % 2 else None
        made.append(TrainingExample(sample, answer, label, level))
    return made


def trainer_of(family: str, out: Path, taught: list[TrainingExample], tuning: str = "full") -> SoftTargetTrainer:
    torch.manual_seed(0)
    model, processor = FAMILIES[family]()
    if tuning == "lora":
        targets = r".*language_model.*proj"
        model = get_peft_model(model, LoraConfig(r=16, lora_alpha=24, target_modules=targets, task_type="CAUSAL_LM"))
        for name, weight in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(weight, std=0.05)
    template = load_template("label-confidence")
    inner = DataCollatorForVisionLanguageModeling(processor, max_length=None, completion_only_loss=True)
    settings = SFTConfig(
        output_dir=str(out), use_cpu=True, bf16=False, report_to="none", remove_unused_columns=False, max_length=None,
        gradient_checkpointing=False,
    )  # fmt: skip
    return SoftTargetTrainer(
        model=model,
        args=settings,
        train_dataset=as_dataset(taught, template),
        processing_class=processor,
        data_collator=SoftTargetCollator(inner, AnswerPaths(processor, template)),
        level_loss=cross_entropy,
    )


def loss_and_gradients(trainer: SoftTargetTrainer, batch: dict[str, Any]) -> tuple[float, dict[str, torch.Tensor]]:
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, dict(batch))
    loss.backward()
    found = {name: one.grad.clone() for name, one in trainer.model.named_parameters() if one.grad is not None}
    return float(loss.detach()), found


@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize("family", QWEN)
def test_loss_and_gradients_are_those_of_the_padded_batch(family: str, tuning: str, tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    taught = examples(random, 24)
    padding, trainer = (trainer_of(family, tmp_path, taught, tuning) for _ in range(2))
    assert use_packing(trainer.model)
    trainer.packing = True
    rows = [as_dataset(taught, load_template("label-confidence"))[n] for n in range(len(taught))]
    for _ in range(4):
        chosen = random.choice(len(rows), int(random.integers(1, 7)), replace=False)
        batch = trainer.data_collator([rows[n] for n in chosen])
        wanted, gradients = loss_and_gradients(padding, batch)
        loss, packed_gradients = loss_and_gradients(trainer, batch)
        assert loss == pytest.approx(wanted, rel=1e-5)
        assert packed_gradients.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(packed_gradients[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("family", QWEN)
def test_no_row_sees_another(family: str, tmp_path: Path) -> None:
    taught = examples(np.random.default_rng(3), 3)
    trainer = trainer_of(family, tmp_path, taught)
    model: Any = trainer.model
    assert use_packing(model)
    rows = [as_dataset(taught, load_template("label-confidence"))[n] for n in range(3)]
    batch = trainer.data_collator(rows)
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask", "mm_token_type_ids", "image_grid_thw")}
    line = packed(model, inputs | {"pixel_values": batch["pixel_values"]})
    embedded = model.get_input_embeddings()(line.pop("input_ids")).detach().requires_grad_()
    del line["pixel_values"], line["image_grid_thw"]
    own = line[ROWS][1].unique()
    model(inputs_embeds=embedded, use_cache=False, **line).logits[0, own].sum().backward()
    reach = embedded.grad[0].abs().sum(1)
    assert reach.nonzero().flatten().tolist() == own.tolist()
    beginning = batch["input_ids"][0].tolist().index(trainer.processing_class.image_token_id)
    assert own.tolist()[: beginning + 1] == [*range(beginning), int(line[ROWS][0, -1]) + 1], "the beginning is shared"


@pytest.mark.parametrize("family", QWEN)
def test_the_last_layer_goes_on_with_the_tokens_that_the_loss_looks_at(family: str, tmp_path: Path) -> None:
    taught = examples(np.random.default_rng(4), 5)
    trainer = trainer_of(family, tmp_path, taught)
    assert use_packing(trainer.model)
    trainer.packing = True
    batch = trainer.data_collator([as_dataset(taught, load_template("label-confidence"))[n] for n in range(5)])
    layers = vision_holder(trainer.model).language_model.layers
    seen: list[int] = []
    for layer in layers:
        layer.mlp.gate_proj.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[1]))
    trainer.compute_loss(trainer.model, dict(batch))
    answers = int((batch["labels"] != -100).sum())
    beginning = batch["input_ids"][0].tolist().index(trainer.processing_class.image_token_id)
    assert beginning > 1
    assert seen[:-1] == [int(batch["attention_mask"].sum()) - 4 * beginning] * (len(layers) - 1)
    assert answers <= seen[-1] < seen[0] / 2


def test_a_loss_is_looked_for_where_each_row_is_answered_and_not_from_the_first_answer_of_the_batch_on() -> None:
    goal = torch.full((3, 9), -100)
    goal[0, 1:3], goal[1, 4:7], goal[2, 8:] = 5, 5, 5
    places = answer_places(goal)
    assert places.tolist() == [[1, 2, 3], [4, 5, 6], [6, 7, 8]]
    assert int((goal.gather(1, places) != -100).sum()) == int((goal != -100).sum())
