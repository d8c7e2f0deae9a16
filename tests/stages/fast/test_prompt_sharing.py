"""Prompt sharing: questions computed once per group give TRL's samples, rewards, losses and gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageTextToText
from trl.data_utils import apply_chat_template
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_config import RLOOConfig
from trl.trainer.rloo_trainer import RLOOTrainer
from trl.trainer.utils import shuffle_sequence_dict, split_pixel_values_by_grid, unsplit_pixel_values_by_grid

from emocaliber.core.prompting import load_template
from emocaliber.stages.calibrate.draws import question_dataset
from emocaliber.stages.fast.prompt_sharing import SharingGRPOTrainer, SharingRLOOTrainer, shared_batch, use_sharing
from emocaliber.stages.grading import text_of
from tests.stages.families import FAMILIES
from tests.stages.fast.test_packing import QWEN, examples

COPIES = 4
METHODS: dict[str, Any] = {
    "grpo": (GRPOTrainer, SharingGRPOTrainer, GRPOConfig, {"loss_type": "dr_grpo"}),
    "rloo": (RLOOTrainer, SharingRLOOTrainer, RLOOConfig, {}),
}


def length(completions: list[Any], **columns: Any) -> list[float]:
    return [float(sum(map(ord, text_of(completion))) % 7) for completion in completions]


def trainer_of(
    family: str, method: str, sharing: bool, out: Path, beta: float = 0.0, *, full: bool = False, **named: Any
) -> Any:
    torch.manual_seed(0)
    model, processor = FAMILIES[family]()
    processor.tokenizer.padding_side = "left"
    plain, ours, config, more = METHODS[method]
    if full:  # TRL reads the reference from where the model came from
        model.save_pretrained(out / family)
        adapted = AutoModelForImageTextToText.from_pretrained(out / family, dtype=torch.float32)
    else:
        targets = r".*language_model.*\.(q_proj|v_proj|down_proj)"
        adapted = get_peft_model(model, LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM"))
    settings = config(
        output_dir=str(out), use_cpu=True, bf16=False, report_to="none", remove_unused_columns=False, beta=beta,
        per_device_train_batch_size=3 * COPIES, num_generations=COPIES, max_completion_length=5,
        gradient_checkpointing=False, **more,
    )  # fmt: skip
    adapted.double()  # in float32 the smallest gradients carry the rounding of the largest, by machine
    trainer = (ours if sharing else plain)(
        model=adapted,
        reward_funcs=[length],
        args=settings,
        train_dataset=question_dataset(examples(np.random.default_rng(5), 3), load_template("label-confidence")),
        processing_class=processor,
        **named,
    )
    for name, weight in adapted.named_parameters():  # away from the start, which the reference stays at
        if ".default." in name:
            torch.nn.init.normal_(weight, std=0.2)
        elif full and "language_model" in name:
            weight.data += 0.02 * torch.randn_like(weight)
    return trainer


def step(trainer: Any, seed: int) -> tuple[dict[str, Any], float, dict[str, torch.Tensor]]:
    """Samples and their rewards, then the loss and the gradients of these rows with the groups shuffled."""
    rows = [row for row in trainer.train_dataset for _ in range(COPIES)]
    trainer.model.train()
    torch.manual_seed(seed)
    drawn = trainer._generate_and_score_completions(rows)
    parts: Any = split_pixel_values_by_grid(drawn)
    parts = shuffle_sequence_dict(parts)
    mixed = unsplit_pixel_values_by_grid(parts)
    trainer.model.zero_grad()
    trainer.current_gradient_accumulation_steps = 1
    loss = trainer.compute_loss(trainer.model, mixed)
    loss.backward()
    gradients = {
        name: weight.grad.clone() for name, weight in trainer.model.named_parameters() if weight.grad is not None
    }
    return drawn, float(loss.detach()), gradients


@pytest.mark.parametrize("family", QWEN)
@pytest.mark.parametrize(("method", "beta"), [("grpo", 0.0), ("grpo", 0.1), ("rloo", 0.1)])
def test_samples_losses_and_gradients_are_those_of_trl(family: str, method: str, beta: float, tmp_path: Path) -> None:
    plain, ours = (trainer_of(family, method, sharing, tmp_path, beta) for sharing in (False, True))
    for seed in range(2):
        drawn, loss, gradients = step(plain, seed)
        drawn_too, loss_too, gradients_too = step(ours, seed)
        assert torch.equal(drawn["completion_ids"], drawn_too["completion_ids"])
        torch.testing.assert_close(drawn_too["advantages"], drawn["advantages"], rtol=1e-4, atol=1e-4)
        assert drawn["advantages"].abs().max() > 0
        assert loss_too == pytest.approx(loss, rel=1e-4, abs=1e-6)
        assert gradients_too.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradients_too[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("method", METHODS)
def test_full_fine_tuning_matches_trl_although_its_reference_model_gives_no_entropy(
    method: str, tmp_path: Path
) -> None:
    plain, ours = (trainer_of("qwen3-vl", method, sharing, tmp_path, 0.1, full=True) for sharing in (False, True))
    assert ours._shares
    _, loss, gradients = step(plain, 0)
    _, loss_too, gradients_too = step(ours, 0)
    assert loss_too == pytest.approx(loss, rel=1e-4, abs=1e-6)
    assert gradients_too.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradients_too[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_a_wrapped_model_gives_the_same_loss(tmp_path: Path) -> None:
    trainer = trainer_of("qwen3-vl", "grpo", True, tmp_path)
    drawn, _, _ = step(trainer, 0)
    wrapped = torch.nn.DataParallel(trainer.model)  # as DeepSpeed's engine, it has no attribute `model`
    assert not hasattr(wrapped, "model")
    inputs = unsplit_pixel_values_by_grid(split_pixel_values_by_grid(drawn))
    alone = trainer.compute_loss(trainer.model, inputs)
    assert torch.equal(trainer.compute_loss(wrapped, inputs), alone)


def test_the_recipes_key_switches_sharing_off(tmp_path: Path) -> None:
    trainer = trainer_of("qwen3-vl", "grpo", True, tmp_path, share_questions=False)
    assert not trainer._shares
    assert trainer.model.generate.__func__ is type(trainer.model).generate


@pytest.mark.parametrize("family", QWEN)
def test_an_answer_sees_its_own_question_and_itself_alone(family: str) -> None:
    torch.manual_seed(0)
    model, processor = FAMILIES[family]()
    assert use_sharing(model)
    rows = question_dataset(examples(np.random.default_rng(1), 2), load_template("label-confidence"))
    batch = processor(
        text=[chat(row, processor) for row in rows for _ in range(2)],
        images=[row["images"] for row in rows for _ in range(2)],
        padding=True,
        padding_side="left",
        return_tensors="pt",
    )
    answer = torch.randint(20, 200, (4, 3))
    inputs = {key: batch[key] for key in ("pixel_values", "image_grid_thw")} | {"group": torch.tensor([0, 0, 1, 1])}
    inputs["input_ids"] = torch.cat([batch["input_ids"], answer], dim=1)
    inputs["attention_mask"] = torch.cat([batch["attention_mask"], torch.ones_like(answer)], dim=1)
    inputs["mm_token_type_ids"] = torch.cat([batch["mm_token_type_ids"], torch.zeros_like(answer)], dim=1)
    shared, _ = shared_batch(model, inputs, 3)
    embedded = model.get_input_embeddings()(shared.pop("input_ids")).detach().requires_grad_()
    del shared["pixel_values"], shared["image_grid_thw"]
    model(inputs_embeds=embedded, use_cache=False, **shared).logits[0, -4].sum().backward()
    reach = embedded.grad[0].abs().sum(1) > 0
    length = batch["input_ids"].shape[1] - 1
    expected = torch.zeros(2 * length + 12).bool()
    expected[length : 2 * length] = batch["attention_mask"][2, :-1].bool()
    expected[-6:-3] = True
    assert torch.equal(reach, expected)


def chat(row: dict[str, Any], processor: Any) -> str:
    text = row["prompt"][0]["content"]
    content: Any = [{"type": "image"}, {"type": "text", "text": text}] if isinstance(text, str) else text
    row: dict[str, Any] = {"prompt": [{"role": "user", "content": content}]}
    return str(apply_chat_template(row, processor)["prompt"])
