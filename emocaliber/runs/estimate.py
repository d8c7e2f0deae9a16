"""What a stage will need, from its recipe and the model's configuration alone: parameters, memory, time.

Not a measurement: no weight is loaded, the model is laid out on the meta device. Memory is counted as torch keeps it
(weights, gradients, optimiser, what a step saves for its backward pass, the teacher's cache); what the allocator and
the kernels add on top is a share of it, `OVERHEAD`.

    emocaliber recipe estimate recipes/qwen2.5-vl-7b/1-label.yaml --rows 86067 --tflops 312
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, PretrainedConfig

from emocaliber.core.errors import UserError
from emocaliber.models.location import model_folder
from emocaliber.stages.loading import missing_model
from emocaliber.stages.recipe import Recipe

ARCHITECTURE = "architecture.json"
GIB = 2**30
HALF, FULL = 2, 4  # bytes of a number
NF4 = 0.516  # bytes of a weight: 4 bits, and 0.127 for the constants, themselves quantised (arXiv 2305.14314)
OVERHEAD = 0.10
PROMPT_TOKENS, ANSWER_TOKENS = 120, 24
KEPT_IN_LAYER = 14  # hidden-sized values that one layer's backward pass needs, beside three of the MLP's width
DEFAULT_PIXELS = 1_003_520  # Qwen's own limit
TILES = {"smolvlm": 17, "internvl": 13}  # at the largest picture: the tiles and the whole


@dataclass(frozen=True)
class Estimate:
    """Counts of parameters; memory of one GPU in bytes while training and while asking; work of one step in FLOPs."""

    parameters: int
    trainable: int
    image_tokens: int
    weights: int
    gradients: int
    optimiser: int
    activations: int
    asking: int
    flops_per_step: float
    rows_per_step: int

    @property
    def training_bytes(self) -> int:
        """All that one GPU holds at the largest moment of a step."""
        return round((self.weights + self.gradients + self.optimiser + self.activations) * (1 + OVERHEAD))

    def hours(self, rows: int, epochs: float, tflops: float, efficiency: float) -> float:
        """The time of `rows` pictures on one GPU that reaches `efficiency` of `tflops`."""
        steps = math.ceil(rows * epochs / self.rows_per_step)
        return steps * self.flops_per_step / (tflops * 1e12 * efficiency) / 3600


def estimate(recipe: Recipe) -> Estimate:
    """What one process of the recipe's stage needs. Raises UserError where the configuration cannot be found."""
    config = configuration(recipe)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)  # type: ignore[no-untyped-call]
    sizes = {name: weight.numel() for name, weight in model.named_parameters()}
    parameters = sum(sizes.values())
    linear = _adapted(recipe, model)
    full = recipe.tuning == "full"
    trainable = parameters if full else sum(recipe.lora_r * (a + b) for a, b in linear.values())
    text = config.get_text_config()
    batch = int(recipe.trainer.get("per_device_train_batch_size", 8))
    tokens = batch * (image_tokens(recipe, config) + PROMPT_TOKENS + ANSWER_TOKENS)
    number = HALF if recipe.trainer.get("bf16", True) else FULL
    per_weight = number if full else FULL  # LoRA's own matrices are kept in float32
    optimiser = 2 if "8bit" in str(recipe.trainer.get("optim", "")) else 2 * per_weight
    accumulation = int(recipe.trainer.get("gradient_accumulation_steps", 1))
    return Estimate(
        parameters=parameters,
        trainable=trainable,
        image_tokens=image_tokens(recipe, config),
        weights=_weights(recipe, parameters, sum(a * b for a, b in linear.values()), number)
        + (0 if full else FULL * trainable),
        gradients=per_weight * trainable,
        optimiser=optimiser * trainable,
        activations=_activations(recipe, text, tokens, batch, number),
        asking=0 if recipe.stage == "label" else _asking(recipe, config, parameters),
        flops_per_step=(8 if full else 6) * parameters * tokens * accumulation,
        rows_per_step=batch * accumulation,
    )


def configuration(recipe: Recipe) -> PretrainedConfig:
    """The model's configuration: of the recipe's own folder (architecture.json), else of the model's folder or hub."""
    beside = recipe.path.parent / ARCHITECTURE
    model = model_folder(recipe.model)
    found = str(beside) if beside.is_file() and not Path(model).is_dir() else model
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(found)
    except OSError as error:
        raise UserError(missing_model(model, error)) from error
    return config


def image_tokens(recipe: Recipe, config: Any) -> int:
    """The tokens of the largest picture that the recipe lets through."""
    vision = config.vision_config
    if config.model_type in TILES:
        side = vision.image_size if isinstance(vision.image_size, int) else vision.image_size[0]
        patch = vision.patch_size if isinstance(vision.patch_size, int) else vision.patch_size[0]
        shrink = getattr(config, "scale_factor", None) or round(1 / config.downsample_ratio)
        return int(TILES[config.model_type] * (side // patch // shrink) ** 2)
    cell = vision.patch_size * vision.spatial_merge_size
    return int((recipe.max_pixels or DEFAULT_PIXELS) // cell**2)


def _adapted(recipe: Recipe, model: torch.nn.Module) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of each matrix that LoRA stands beside."""
    return {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and re.fullmatch(recipe.lora_target, name)
    }


def _weights(recipe: Recipe, parameters: int, quantised: int, number: int) -> int:
    each = {"none": number, "int8": 1.0, "nf4": NF4}[recipe.quantization]
    return round(each * quantised + number * (parameters - quantised))


def _activations(recipe: Recipe, text: Any, tokens: int, batch: int, number: int) -> int:
    """What is saved for the backward pass, and the answer's logits: as they are, in float32, their log and gradient."""
    in_layer = tokens * (KEPT_IN_LAYER * text.hidden_size + 3 * text.intermediate_size) * number
    between = tokens * text.hidden_size * number * text.num_hidden_layers
    logits = batch * (ANSWER_TOKENS + 1) * text.vocab_size * (number + 3 * FULL)
    if recipe.trainer.get("gradient_checkpointing", True):
        return int(in_layer + between + logits)
    return int(in_layer * text.num_hidden_layers + logits)


def _asking(recipe: Recipe, config: Any, parameters: int) -> int:
    """The teacher's weights and the cache of the answers under way."""
    text = config.get_text_config()
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    tokens = recipe.ask_batch_size * (image_tokens(recipe, config) + PROMPT_TOKENS + ANSWER_TOKENS)
    cache = tokens * text.num_hidden_layers * 2 * text.num_key_value_heads * width * HALF
    return int(HALF * parameters + cache)
