"""A packed batch has the loss and the gradients of the padded one, and no row sees another."""

from __future__ import annotations

import dataclasses
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image, ImageOps
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from emocaliber.core.prompting import LEVEL_TEXTS, LEVELS, Template, load_template
from emocaliber.core.samples import Sample
from emocaliber.models.loading import support_logits_to_keep
from emocaliber.stages.answer_paths import AnswerPaths
from emocaliber.stages.examples import TrainingExample, as_dataset
from emocaliber.stages.fast.families import image_token, language_model
from emocaliber.stages.fast.packing import PACKED_INDEX, matmul_attention, pack_batch, use_packing
from emocaliber.stages.soft_targets import SoftTargetCollator, SoftTargetTrainer, answer_positions, cross_entropy
from tests.stages.families import FAMILIES

QWEN = ["qwen2.5-vl", "qwen3-vl"]
EVERY = [*QWEN, "internvl", "internvl3.5", "smolvlm", "qwen3.5", "minicpm-v", "lfm2-vl"]
LABEL_CONFIDENCE = load_template("label-confidence")
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


def trainer_of(
    family: str,
    out: Path,
    taught: list[TrainingExample],
    tuning: str = "full",
    template: Template = LABEL_CONFIDENCE,
) -> SoftTargetTrainer:
    torch.manual_seed(0)
    model, processor = FAMILIES[family]()
    support_logits_to_keep(model)
    if tuning == "lora":
        targets = r".*(language|text)_model.*proj"
        model = get_peft_model(model, LoraConfig(r=16, lora_alpha=24, target_modules=targets, task_type="CAUSAL_LM"))
        for name, weight in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(weight, std=0.05)
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
    gradients = {
        name: weight.grad.clone() for name, weight in trainer.model.named_parameters() if weight.grad is not None
    }
    return float(loss.detach()), gradients


def processor_keys(batch: dict[str, Any]) -> list[str]:
    """The keys of the model's inputs; the other keys are targets."""
    return [key for key in batch if key not in {"labels", "label_field", "level_field", "token_weights", "correct"}]


def prefix_shared_by_all(batch: dict[str, Any], model: Any) -> int:
    """The length of the prefix before any picture that all rows share."""
    rows = batch["input_ids"].tolist()
    columns = enumerate(zip(*rows, strict=True))
    return next(n for n, tokens in columns if len(set(tokens)) > 1 or tokens[0] == image_token(model))


@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize("family", EVERY)
def test_loss_and_gradients_are_those_of_the_padded_batch(family: str, tuning: str, tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    taught = examples(random, 24)
    padding, trainer = (trainer_of(family, tmp_path, taught, tuning) for _ in range(2))
    use_packing(trainer.model)
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


@pytest.mark.parametrize("family", EVERY)
def test_no_row_sees_another(family: str, tmp_path: Path) -> None:
    taught = examples(np.random.default_rng(3), 3)
    trainer = trainer_of(family, tmp_path, taught)
    model: Any = trainer.model
    use_packing(model)
    rows = [as_dataset(taught, load_template("label-confidence"))[n] for n in range(3)]
    batch = trainer.data_collator(rows)
    packed = pack_batch(model, {key: batch[key] for key in processor_keys(batch)})
    embedded = model.get_input_embeddings()(packed.pop("input_ids")).detach().requires_grad_()
    packed = {key: packed[key] for key in ("position_ids", PACKED_INDEX)}
    row = packed[PACKED_INDEX][1].unique()
    model(inputs_embeds=embedded, use_cache=False, **packed).logits[0, row].sum().backward()
    reached = embedded.grad[0].abs().sum(1)
    assert reached.nonzero().flatten().tolist() == row.tolist()
    prefix = prefix_shared_by_all(batch, model)
    assert row.tolist()[: prefix + 1] == [*range(prefix), int(packed[PACKED_INDEX][0, -1]) + 1], "the prefix is shared"


@pytest.mark.parametrize("family", EVERY)
def test_another_picture_and_answer_in_one_row_change_no_bit_of_the_others_losses(family: str, tmp_path: Path) -> None:
    taught = examples(np.random.default_rng(5), 4)
    trainer = trainer_of(family, tmp_path, taught)
    use_packing(trainer.model)
    trainer.packing = True
    losses: list[torch.Tensor] = []
    alone = trainer._row_losses
    trainer._row_losses = lambda *given, **named: losses.append(alone(*given, **named)) or losses[-1]  # type: ignore[func-returns-value]
    # The answer comes right before the next row in the packed sequence: any state that leaks across would carry it.
    answer = LABEL_CONFIDENCE.write(label=taught[1].sample.candidates[0], confidence=0.35)
    taught[1] = dataclasses.replace(taught[1], completion=answer.replace("0.35", "0.80"))
    sample = dataclasses.replace(taught[1].sample, image=inverted(taught[1]))
    other = dataclasses.replace(taught[1], sample=sample, completion=answer)
    for rows in (taught, [taught[0], other, *taught[2:]]):
        made = as_dataset(rows, load_template("label-confidence"))
        trainer.compute_loss(trainer.model, dict(trainer.data_collator([made[n] for n in range(4)])))
    assert losses[0][1] != losses[1][1]
    assert torch.equal(losses[0][[0, 2, 3]], losses[1][[0, 2, 3]])


def inverted(example: TrainingExample) -> bytes:
    """The example's picture, of the same size, with its colours inverted."""
    stream = BytesIO()
    ImageOps.invert(Image.open(BytesIO(bytes(example.sample.image)))).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("family", EVERY)
def test_the_last_layer_computes_only_the_tokens_that_the_loss_needs(family: str, tmp_path: Path) -> None:
    taught = examples(np.random.default_rng(4), 5)
    trainer = trainer_of(family, tmp_path, taught)
    use_packing(trainer.model)
    trainer.packing = True
    batch = trainer.data_collator([as_dataset(taught, load_template("label-confidence"))[n] for n in range(5)])
    layers = language_model(trainer.model).layers
    seen: list[int] = []
    for layer in layers:
        mlp = layer.feed_forward.w1 if family == "lfm2-vl" else layer.mlp.gate_proj
        mlp.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[1]))
    trainer.compute_loss(trainer.model, dict(batch))
    answers = int((batch["labels"] != -100).sum())
    prefix = prefix_shared_by_all(batch, trainer.model)
    assert prefix > 1
    assert seen[:-1] == [int(batch["attention_mask"].sum()) - 4 * prefix] * (len(layers) - 1)
    assert answers <= seen[-1] < seen[0] / 2


def test_matmul_attention_in_bfloat16_matches_float32_up_to_rounding() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 4, 6, 8), torch.randn(3, 2, 6, 8), torch.randn(3, 2, 6, 8)
    wanted = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
    exact = matmul_attention(query, key, value, None, 8**-0.5)
    torch.testing.assert_close(exact, wanted.transpose(1, 2))
    index = torch.tensor([[1, 4], [0, 5], [2, 3]])  # two queries of each row, which see what they see among all
    chosen = torch.stack([query[n][:, index[n]] for n in range(3)])
    visible = (torch.arange(6) <= index[:, :, None])[:, None]
    of_chosen = matmul_attention(chosen, key, value, visible, 8**-0.5)
    torch.testing.assert_close(of_chosen, torch.stack([exact[n][index[n]] for n in range(3)]))
    rounded = matmul_attention(query.bfloat16(), key.bfloat16(), value.bfloat16(), None, 8**-0.5)
    torch.testing.assert_close(rounded.float(), exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("family", ["internvl", "qwen2.5-vl"])
def test_under_autocast_lora_in_bfloat16_has_the_loss_and_gradients_of_pefts_own(family: str, tmp_path: Path) -> None:
    taught = examples(np.random.default_rng(6), 6)
    plain, trainer = (trainer_of(family, tmp_path, taught, "lora") for _ in range(2))
    for each in (plain, trainer):
        each.model.get_base_model().to(torch.bfloat16)
        for name, weight in each.model.named_parameters():
            if "lora_" in name:
                weight.data = weight.data.float()
    use_packing(trainer.model)
    trainer.packing = True
    batch = trainer.data_collator([as_dataset(taught, load_template("label-confidence"))[n] for n in range(6)])
    with torch.autocast("cpu", torch.bfloat16):
        wanted, gradients = loss_and_gradients(plain, batch)
        loss, short = loss_and_gradients(trainer, batch)
    assert loss == pytest.approx(wanted, rel=0.02)
    flat, other = (torch.cat([each[name].flatten() for name in gradients]) for each in (gradients, short))
    assert torch.nn.functional.cosine_similarity(flat, other, dim=0) > 0.98


def test_answer_positions_start_at_each_rows_own_answer() -> None:
    next_tokens = torch.full((3, 9), -100)
    next_tokens[0, 1:3], next_tokens[1, 4:7], next_tokens[2, 8:] = 5, 5, 5
    positions = answer_positions(next_tokens)
    assert positions.tolist() == [[1, 2, 3], [4, 5, 6], [6, 7, 8]]
    assert int((next_tokens.gather(1, positions) != -100).sum()) == int((next_tokens != -100).sum())
