"""Load what a stage trains, by its recipe: the processor, the base model, and the adapter on it.

processor = load_processor(model_folder(recipe.model), recipe.max_pixels, recipe.thinking)
learner = load_trainable(recipe, model_folder(recipe.model), adapter)
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    BitsAndBytesConfig,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.image_utils import SizeDict

from emocaliber.core.errors import UserError
from emocaliber.models.loading import adapted, support_logits_to_keep
from emocaliber.models.projectors import learned_projectors, projector_in_float32, projectors
from emocaliber.models.thinking import switch_thinking
from emocaliber.stages.launch import sharding
from emocaliber.stages.recipe import Recipe


def load_processor(model: str, max_pixels: int | None = None, thinking: bool | None = None) -> ProcessorMixin:
    """The processor of a model folder or Hub name, with a limit on a picture's pixels and thinking mode on or off.

    Raises UserError where it cannot be found, or has no such limit or no thinking mode to switch.
    """
    try:
        processor: ProcessorMixin = AutoProcessor.from_pretrained(model)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise UserError(missing_model(model, error)) from error
    if max_pixels is not None:
        limit_pixels(processor, max_pixels)
    switch_thinking(processor, thinking)
    return processor


def missing_model(model: str, error: OSError) -> str:
    """The message for a model that cannot be found."""
    first = str(error).strip().splitlines()[0]
    return f"{model}: the model cannot be loaded ({first}); give model=FOLDER, or log in and download it first"


def limit_pixels(processor: Any, max_pixels: int) -> None:
    """Set the size in pixels above which pictures are scaled down; raises UserError where this family has none.

    Qwen's processors have such a limit; SmolVLM and InternVL cut pictures into tiles instead.
    """
    size = processor.image_processor.size
    if size is None or size.shortest_edge is None or size.longest_edge is None:
        raise UserError(f"max_pixels: {type(processor).__name__} has no such limit; take the key out of the recipe")
    smallest = min(size.shortest_edge, max_pixels)
    processor.image_processor.size = SizeDict(shortest_edge=smallest, longest_edge=max_pixels)


def load_trainable(recipe: Recipe, model: str, adapter: Path | None) -> PreTrainedModel | PeftModel:
    """The model with the adapter to be trained on: the given one goes on, or a fresh one as the recipe says.

    With `tuning: full` there is none, and every weight learns. A projector that the given adapter holds is kept, and
    learns on where the recipe says so. Raises UserError where the model cannot be loaded, is no vision-language model,
    `lora_target` names none of its modules, or a projector is to learn that is not there.
    """
    base = load_base(recipe, model)
    if recipe.tuning == "full":
        return base
    if adapter is not None:
        return _going_on(recipe, adapted(base, adapter, trainable=True), adapter)
    if not any(re.fullmatch(recipe.lora_target, name) for name, _ in base.named_modules()):
        raise UserError(
            f"{recipe.path}: lora_target matches no module of {model} ({type(base).__name__}); take the key out"
        )
    torch.manual_seed(recipe.seed)
    config = LoraConfig(
        r=recipe.lora_r,
        lora_alpha=recipe.lora_alpha,
        target_modules=recipe.lora_target,
        modules_to_save=_projectors(recipe, base) if recipe.train_projector else None,
        task_type="CAUSAL_LM",
    )
    fresh: PeftModel = get_peft_model(base, config)
    projector_in_float32(fresh)
    return fresh


def _going_on(recipe: Recipe, learner: PeftModel, adapter: Path) -> PeftModel:
    held = learned_projectors(learner)
    if recipe.train_projector and not held:
        raise UserError(
            f"{recipe.path}: train_projector: {adapter} holds no projector to go on with; train stage 1 with the key"
        )
    for wrapper in held:
        wrapper.requires_grad_(False)
        if recipe.train_projector:
            wrapper.modules_to_save.requires_grad_(True)
    return learner


def _projectors(recipe: Recipe, base: PreTrainedModel) -> list[str]:
    if names := projectors(base):
        return names
    raise UserError(
        f"{recipe.path}: train_projector: {type(base).__name__} has no projector by a known name"
        " (multi_modal_projector, connector, visual.merger)"
    )


def load_base(recipe: Recipe, model: str) -> PreTrainedModel:
    """The weights beneath, quantised where the recipe says so. Raises UserError where they cannot be loaded.

    Where every weight learns they are float32: in bfloat16 most updates are smaller than half of a weight's last place,
    and lost. DeepSpeed and FSDP hold such master weights themselves. On a CPU without `bf16` they are float32 too, in
    which a CPU without AMX is faster, whatever the checkpoint's type.
    """
    parted = sharding(recipe)
    on_plain_cpu = bool(recipe.trainer.get("use_cpu")) and not recipe.trainer.get("bf16")
    wide = parted == "none" and (recipe.tuning == "full" or on_plain_cpu)
    named: dict[str, Any] = {"dtype": torch.float32 if wide else "auto"}
    if recipe.quantization != "none":
        named["quantization_config"] = quantized(recipe)
        if parted not in {"fsdp", "zero3"}:  # those place the weights themselves
            device = "cpu" if recipe.trainer.get("use_cpu") else f"cuda:{os.environ.get('LOCAL_RANK') or 0}"
            named["device_map"] = {"": device}
    try:
        base: PreTrainedModel = AutoModelForImageTextToText.from_pretrained(model, use_safetensors=True, **named)
    except OSError as error:
        raise UserError(missing_model(model, error)) from error
    except ImportError as error:
        if recipe.quantization == "none":
            raise
        raise UserError(
            f"{recipe.path}: quantization needs bitsandbytes: pip install 'emocaliber[quantization]'"
        ) from error
    except ValueError as error:
        if "Unrecognized configuration class" not in str(error):
            raise
        raise UserError(f"{model}: this is no vision-language model that transformers knows") from error
    support_logits_to_keep(base)
    return base


def quantized(recipe: Recipe) -> BitsAndBytesConfig:
    """How the frozen language model is held; what sees the picture keeps its precision.

    FSDP and ZeRO-3 part weights of one type alone: there, four-bit weights are stored in the type of the others.
    """
    names = ["visual", "vision_tower", "vision_model", "audio_tower", "connector", "multi_modal_projector", "merger"]
    names += ["embed_vision", "embed_audio", "per_layer_model_projection", "lm_head"]
    skipped = [f".*{name}" for name in names]  # matched from the beginning of "model.visual.blocks.0..."
    configured: Any = BitsAndBytesConfig
    if recipe.quantization == "int8":
        return configured(load_in_8bit=True, llm_int8_skip_modules=skipped)  # type: ignore[no-any-return]
    compute = torch.float32 if recipe.trainer.get("use_cpu") else torch.bfloat16
    return configured(  # type: ignore[no-any-return]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
        bnb_4bit_quant_storage=compute if sharding(recipe) in {"fsdp", "zero3"} else torch.uint8,
        llm_int8_skip_modules=skipped,
    )
