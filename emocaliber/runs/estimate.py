"""What a stage will need under its launcher, from its recipe and the model's configuration alone: parameters, memory,
time.

No weight is loaded: the model is laid out on the meta device. Memory is counted as torch keeps it on one GPU at the
largest moment of a step,

    (weights + reference + optimizer + gathered + max(step, cache of rollouts)) * 1.1 + vLLM's share,

where `step` is the most that gradients and activations take together, since the backward pass frees activations while
it fills gradients, and the tenth (`OVERHEAD`) is for the allocator and the kernels.

    emocaliber recipe estimate recipes/qwen2.5-vl-7b/1-label.yaml --rows 86067 --memory 80 --launcher fsdp2 --gpus 8
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import torch

from emocaliber.core.errors import UserError
from emocaliber.models.layers import Reach
from emocaliber.models.projectors import projectors
from emocaliber.runs.activations import (
    DELTA_NET,
    FULL,
    HALF,
    PROMPT_TOKENS,
    activations,
    layer_kinds,
    step_tokens,
)
from emocaliber.runs.image_tokens import image_tokens
from emocaliber.runs.launches import Launcher, launch_of, refuse_launch
from emocaliber.runs.reach import configuration, model_without_weights, refuse_partial
from emocaliber.stages.fast.families import refuse_packing
from emocaliber.stages.recipe import Recipe

GIB = 2**30
NF4 = 0.516  # bytes of a weight: 4 bits, and 0.127 for the constants, themselves quantised (arXiv 2305.14314)
OVERHEAD = 0.10
ZERO3_LIVE = 10**9  # parameters that ZeRO-3 holds gathered at most: DeepSpeed's stage3_max_live_parameters


@dataclass(frozen=True)
class Estimate:
    """Parameter counts; memory of one GPU in bytes, in training and in querying; the work of one step in FLOPs.

    `optimizer` includes float32 master weights if the launcher keeps them; `gathered` is a GPU's temporary copy of
    other shards; `step` is the peak of gradients, activations and the vision tower's activations together; `cache`
    holds keys and values of rollouts by transformers, `vllm` the memory that vLLM reserves; `host` is the main memory
    per process while weights are loaded; `reach` is what LoRA reaches of the language model's layers, None without
    LoRA.
    """

    parameters: int
    trainable: int
    image_tokens: int
    weights: int
    reference: int
    gradients: int
    optimizer: int
    gathered: int
    activations: int
    vision: int
    step: int
    cache: int
    vllm: int
    asking: int
    host: int
    flops_per_step: float
    rows_per_step: int
    reach: Reach | None

    @property
    def training_bytes(self) -> int:
        """All that one GPU holds at the largest moment of a step."""
        return round(self.counted_bytes * (1 + OVERHEAD)) + self.vllm

    @property
    def counted_bytes(self) -> int:
        """The tensors of the training process alone, without the allocator's share."""
        resident = self.weights + self.reference + self.optimizer + self.gathered
        return resident + max(self.step, self.cache)

    def hours(self, rows: int, epochs: float, tflops: float, efficiency: float) -> float:
        """The time of `rows` pictures on one GPU that reaches `efficiency` of `tflops`."""
        steps = math.ceil(rows * epochs / self.rows_per_step)
        return steps * self.flops_per_step / (tflops * 1e12 * efficiency) / 3600


def estimate(recipe: Recipe, launcher: Launcher = "single", gpus: int = 1, memory: float | None = None) -> Estimate:
    """What one process of the recipe's stage needs on one of `gpus` GPUs with `memory` GiB each.

    Raises UserError if the configuration cannot be found, the launch is refused, LoRA would miss layers of the language
    model, or vLLM's share of the memory cannot hold its weights and one request.
    """
    refuse_launch(recipe, launcher)
    config, model = configuration(recipe), model_without_weights(recipe)
    if recipe.packing:
        refuse_packing(config.model_type, recipe.path)
    reach = refuse_partial(recipe, model)
    linear = _adapted(recipe, model)
    parameters = sum(weight.numel() for weight in model.parameters())
    full = recipe.tuning == "full"
    trainable = parameters if full else sum(recipe.lora_r * (a + b) for a, b in linear.values())
    if recipe.train_projector:
        trainable += sum(
            weight.numel() for name in projectors(model) for weight in model.get_submodule(name).parameters()
        )
    rows = int(recipe.trainer.get("per_device_train_batch_size", 8))
    accumulation = int(recipe.trainer.get("gradient_accumulation_steps", 1))
    number = HALF if recipe.trainer.get("bf16", True) else FULL
    work = step_tokens(recipe, image_tokens(recipe, config), rows)
    learning = _held_for_learning(recipe, launcher, gpus, number)
    frozen = _frozen_bytes(recipe, parameters, sum(a * b for a, b in linear.values()), number)
    parts = gpus if launcher in ("zero3", "fsdp2") else 1
    saved = activations(recipe, config, work, number)
    gradients = round(learning.gradients * trainable)
    start = round(learning.start * parameters) if full else FULL * trainable  # of what learns, as it was at the start
    return Estimate(
        parameters=parameters,
        trainable=trainable,
        image_tokens=image_tokens(recipe, config),
        weights=round(learning.weights * trainable) + (0 if full else frozen // parts),
        reference=start // parts if launch_of(recipe, launcher).reference else 0,
        gradients=gradients,
        optimizer=round(learning.optimizer * trainable),
        gathered=_gathered(recipe, launcher, model, number),
        activations=saved.language + saved.language_layer + saved.logits,
        vision=saved.pixels + saved.vision + saved.vision_layer,
        step=saved.largest_moment(
            gradients,
            embedding=round(learning.gradients * model.get_input_embeddings().weight.numel()) if full else 0,
            tied=config.tie_word_embeddings,
            resident=accumulation > 1 or launcher != "single",
        ),
        cache=_rollout_cache(recipe, config, rows * accumulation),
        vllm=_vllm(recipe, config, parameters, memory),
        asking=0 if recipe.stage == "label" else _asking(recipe, config, parameters),
        host=round((learning.start if full else number) * parameters),
        flops_per_step=(8 if full else 6) * parameters * work.tokens * accumulation,
        rows_per_step=rows * accumulation,
        reach=reach,
    )


@dataclass(frozen=True)
class _Learning:
    """Bytes of one GPU for each weight that learns; `start` those with which it is loaded."""

    start: float
    weights: float
    gradients: float
    optimizer: float


def _held_for_learning(recipe: Recipe, launcher: Launcher, gpus: int, number: int) -> _Learning:
    """Bytes per trainable weight, by launcher. LoRA's matrices are float32. In full fine-tuning, DeepSpeed keeps
    float32 master weights beside the computing ones and FSDP2 float32 shards; alone and under DDP the weights
    themselves are float32."""
    moments = 2 if "8bit" in str(recipe.trainer.get("optim", "")) else 2 * FULL
    if launcher == "fsdp2":
        return _Learning(number, FULL / gpus, FULL / gpus, moments / gpus)
    if launcher in ("zero2", "zero3"):
        computing = number / gpus if launcher == "zero3" else number
        return _Learning(number, computing, number / gpus, (moments + (FULL if number == HALF else 0)) / gpus)
    # autocast keeps a shorter copy of each weight through a step, DDP one of the gradients in its buckets
    copy = number if number == HALF and recipe.tuning == "full" else 0
    return _Learning(FULL, FULL + copy, FULL * (2 if launcher == "ddp" else 1), moments)


def _frozen_bytes(recipe: Recipe, parameters: int, quantizable: int, number: int) -> int:
    """What does not learn, beneath LoRA: the adapted matrices as the recipe quantizes them, the rest as it is."""
    each = {"none": number, "int8": 1.0, "nf4": NF4}[recipe.quantization]
    return round(each * quantizable + number * (parameters - quantizable))


def _gathered(recipe: Recipe, launcher: Launcher, model: torch.nn.Module, number: int) -> int:
    """What a GPU holds of the others' shards: FSDP2 all that is in no layer, and two layers; ZeRO-3 up to a limit."""
    if launcher not in ("zero3", "fsdp2"):
        return 0
    parameters = sum(weight.numel() for weight in model.parameters())
    if launcher == "zero3":
        return number * min(parameters, ZERO3_LIVE)
    names = set(getattr(model, "_no_split_modules", None) or [])
    layers = [sum(w.numel() for w in m.parameters()) for m in model.modules() if type(m).__name__ in names]
    return number * (parameters - sum(layers) + 2 * max(layers, default=0))


def _adapted(recipe: Recipe, model: torch.nn.Module) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of each matrix that LoRA stands beside: none in a projector that learns as a whole."""
    learned = tuple(f"{name}." for name in projectors(model)) if recipe.train_projector else ()

    return {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and re.fullmatch(recipe.lora_target, name)
        and not name.startswith(learned)
    }


def _cache_of(text: Any, tokens: int, sequences: int) -> int:
    """The keys and values of so many tokens, and what a Gated DeltaNet or a convolution keeps of each sequence."""
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    kinds = layer_kinds(text)
    attention, delta = sum(kind.endswith("_attention") for kind in kinds), kinds.count(DELTA_NET)
    cache = tokens * (attention - delta) * 2 * text.num_key_value_heads * width * HALF
    return int(cache + sequences * delta * _state_of(text)) if delta else int(cache)


def _state_of(text: Any) -> int:
    """One layer's state: a float32 matrix for each value head, and the last inputs of its convolution."""
    keys, values = (text.linear_num_key_heads * text.linear_key_head_dim,
                    text.linear_num_value_heads * text.linear_value_head_dim)  # fmt: skip
    matrices = FULL * values * text.linear_key_head_dim
    return int(matrices + HALF * (2 * keys + values) * text.linear_conv_kernel_dim)


def _asking(recipe: Recipe, config: Any, parameters: int) -> int:
    """The teacher's weights and the cache of the answers under way."""
    tokens = recipe.ask_batch_size * (image_tokens(recipe, config) + PROMPT_TOKENS + recipe.answer_tokens)
    return int(HALF * parameters + _cache_of(config.get_text_config(), tokens, recipe.ask_batch_size))


def _draws(recipe: Recipe) -> bool:
    return recipe.stage == "calibrate" and recipe.method in ("grpo", "rloo")


def _rollout_cache(recipe: Recipe, config: Any, answers: int) -> int:
    """Keys and values while transformers draws the answers of a step."""
    if not _draws(recipe) or recipe.trainer.get("use_vllm"):
        return 0
    longest = int(recipe.trainer.get("max_completion_length", 256))
    tokens = answers * (image_tokens(recipe, config) + PROMPT_TOKENS + longest)
    return _cache_of(config.get_text_config(), tokens, answers)


def _vllm(recipe: Recipe, config: Any, parameters: int, memory: float | None) -> int:
    """The memory of a vLLM on the same GPU: its configured share, or, if unknown, its minimum of weights and one
    request. Raises UserError if the share is below that."""
    keys = recipe.trainer
    if not _draws(recipe) or not keys.get("use_vllm") or keys.get("vllm_mode", "colocate") != "colocate":
        return 0
    text = config.get_text_config()
    longest = int(keys.get("vllm_max_model_length") or text.max_position_embeddings)
    least = (HALF * parameters + _cache_of(text, longest, 1)) // int(keys.get("vllm_tensor_parallel_size", 1))
    if memory is None:
        return least
    utilization = float(keys.get("vllm_gpu_memory_utilization", 0.3))
    share = round(utilization * memory * GIB)
    if share < least:
        raise UserError(
            f"{recipe.path}: vLLM would not start: its weights and one request of {longest:,} tokens need"
            f" {least / GIB:.1f} GiB, and vllm_gpu_memory_utilization: {utilization:g} of {memory:g} GiB are"
            f" {share / GIB:.1f}; give vllm_max_model_length=2048 or a larger share"
        )
    return share
