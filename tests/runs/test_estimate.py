"""An estimate counts what a real model of that shape has, and comes near what its training step keeps."""

from __future__ import annotations

import dataclasses
import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from transformers import InternVLConfig, InternVLForConditionalGeneration
from transformers.models.internvl.modeling_internvl import InternVLVisionConfig, InternVLVisionModel
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
    Qwen2_5_VLVisionConfig,
)
from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5GatedDeltaNet
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionConfig, Qwen3VLVisionModel
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMVisionConfig, SmolVLMVisionTransformer

from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.models.location import embedded_base
from emocaliber.runs.activations import (
    ANSWER_TOKENS,
    FULL,
    HALF,
    PROMPT_TOKENS,
    VISION,
    _saved_by_delta_net,
    layer_kinds,
)
from emocaliber.runs.estimate import GIB, _cache_of, estimate
from emocaliber.runs.recipes import read_recipe
from emocaliber.stages.loading import load_trainable
from emocaliber.stages.recipe import Recipe
from tests.stages.families import save_family

RECIPES = Path(__file__).parents[2] / "recipes"
PUBLISHED = {  # millions of parameters, as the hub's pages show them
    "qwen2.5-vl-3b": 3_755,
    "qwen2.5-vl-7b": 8_292,
    "qwen3-vl-4b": 4_438,
    "qwen3-vl-8b": 8_767,
    "smolvlm-256m": 256,
    "smolvlm-500m": 507,
    "internvl3-2b": 2_088,
}


@pytest.mark.parametrize("folder", PUBLISHED)
def test_the_shipped_architectures_have_the_published_number_of_parameters(folder: str) -> None:
    counted = estimate(read_recipe(RECIPES / folder / "1-label.yaml"))
    assert counted.parameters / 1e6 == pytest.approx(PUBLISHED[folder], rel=0.01)
    assert 0.001 < counted.trainable / counted.parameters < 0.05


def test_the_learning_parameters_are_those_of_the_real_adapter(tmp_path: Path) -> None:
    model = save_family("qwen3-vl", tmp_path / "model")
    recipe = read_recipe(RECIPES / "tiny" / "1-label.yaml", [f"model={model}", "lora_r=3"])
    learner: Any = load_trainable(recipe, str(model), None)
    assert estimate(recipe).trainable == sum(p.numel() for p in learner.parameters() if p.requires_grad)
    assert estimate(recipe).parameters == sum(p.numel() for p in learner.get_base_model().parameters()) - sum(
        p.numel() for p in learner.parameters() if p.requires_grad
    )


def test_an_estimate_says_how_many_layers_are_reached_and_refuses_fewer_than_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, recipe = save_family("qwen3.5", tmp_path / "model"), str(RECIPES / "tiny" / "1-label.yaml")
    attention = r"lora_target=.*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
    command = ["recipe", "estimate", recipe, f"model={model}"]
    assert main(command) == 0
    assert re.search(r"layers LoRA reaches +2 of 2\n", capsys.readouterr().out)
    assert main([*command, attention]) == 2
    message = capsys.readouterr().err
    assert "reaches 1 of 2 (none in linear_attn of 1) layers" in message
    assert "in_proj_qkv" in message
    assert main([*command, attention, "lora_partial=true"]) == 0
    assert "1 of 2 (none in linear_attn of 1)" in capsys.readouterr().out


class PeakMemory(TorchDispatchMode):
    """The most bytes that tensors held at any time inside, as each operation allocated and freed them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self.count, result)
        return result

    def count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        place, size = storage._cdata, storage.nbytes()
        if place not in self._alive:
            self._alive.add(place)
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._freed, place, size)

    def _freed(self, place: int, size: int) -> None:
        self._alive.discard(place)
        self.now -= size


def internvl_of_158_million(folder: Path) -> Path:
    """Random weights in the architecture of InternVL: DINOv2-S's widths before SmolLM2-135M's."""
    text = {"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30}
    text |= {"num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True}
    vision = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 12, "num_attention_heads": 6}
    vision |= {"attention_bias": True, "image_size": [112, 112], "patch_size": [14, 14]}
    config = InternVLConfig(
        text_config=text, vision_config=vision, image_seq_length=16, image_token_id=49151, tie_word_embeddings=True
    )
    InternVLForConditionalGeneration(config).save_pretrained(folder)
    return folder


def real_peak(recipe: Recipe, model: str, tokens: int, rows: int) -> int:
    """Bytes of two steps with AdamW on the largest picture, so that moments, gradients and activations meet."""
    learner: Any = load_trainable(recipe, model, None)
    learner.train()
    if recipe.trainer["gradient_checkpointing"]:
        learner.gradient_checkpointing_enable({"use_reentrant": False})
        learner.enable_input_require_grads()
    ids = torch.full((rows, tokens + PROMPT_TOKENS + ANSWER_TOKENS), 40)
    ids[:, 1 : 1 + tokens] = learner.config.image_token_id
    if learner.config.model_type == "internvl":
        seen = {"pixel_values": torch.randn(rows * 13, 3, 112, 112)}
    else:
        side = round((4 * tokens) ** 0.5)
        seen = {"pixel_values": torch.randn(rows * side**2, 3 * 2 * 14 * 14)}
        seen |= {"image_grid_thw": torch.tensor([[1, side, side]] * rows)}
        seen |= {"mm_token_type_ids": (ids == learner.config.image_token_id).int()}
    optimizer = torch.optim.AdamW([weight for weight in learner.parameters() if weight.requires_grad])
    memory = PeakMemory()
    for tensor in learner.state_dict(keep_vars=True).values():
        memory.count(tensor)
    with memory:
        for _ in range(2):
            logits = learner(input_ids=ids, **seen, logits_to_keep=ANSWER_TOKENS + 1, use_cache=False).logits
            torch.logsumexp(logits.float(), -1).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    return memory.most


def tower_of(kind: str, hidden: int, mlp: int, depth: int) -> tuple[torch.nn.Module, Callable[[], object]]:
    """A vision tower of that kind and its forward pass over 64 patches; InternVL's has a class token before them."""
    sizes: dict[str, Any] = {"hidden_size": hidden, "intermediate_size": mlp, "attn_implementation": "sdpa"}
    if kind.startswith("qwen"):
        sizes |= {"depth": depth, "num_heads": 4, "out_hidden_size": 64}
    else:
        sizes |= {
            "num_hidden_layers": depth,
            "num_attention_heads": 4,
            "image_size": [112, 112],
            "patch_size": [14, 14],
        }
    tower: Any
    if kind == "qwen2_5_vl_vision":
        every_layer = {"fullatt_block_indexes": list(range(depth))}
        tower = Qwen2_5_VisionTransformerPretrainedModel(Qwen2_5_VLVisionConfig(**sizes, **every_layer))
    elif kind == "qwen3_vl_vision":
        tower = Qwen3VLVisionModel(Qwen3VLVisionConfig(**sizes, deepstack_visual_indexes=[]))
    elif kind == "internvl_vision":
        tower = InternVLVisionModel(InternVLVisionConfig(**sizes, attention_bias=True))
        return tower, lambda: tower(torch.randn(1, 3, 112, 112))
    else:
        tower = SmolVLMVisionTransformer(SmolVLMVisionConfig(**sizes | {"image_size": 112, "patch_size": 14}))
        every_patch = torch.ones(1, 8, 8, dtype=torch.bool)
        return tower, lambda: tower(torch.randn(1, 3, 112, 112), patch_attention_mask=every_patch)
    width = 3 * 2 * tower.config.patch_size**2
    return tower, lambda: tower(torch.randn(64, width), grid_thw=torch.tensor([[1, 8, 8]]))


def saved_by_a_layer(kind: str, hidden: int, mlp: int) -> float:
    """Numbers for each patch."""
    saved = []
    for depth in (3, 2):
        storages: dict[int, Any] = {}

        def save(tensor: torch.Tensor, storages: dict[int, Any] = storages) -> torch.Tensor:
            storages[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
            return tensor

        tower, forward = tower_of(kind, hidden, mlp, depth)
        with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
            forward()
        weights = {weight.untyped_storage()._cdata for weight in tower.parameters()}
        saved.append(sum(storage.nbytes() for place, storage in storages.items() if place not in weights))
    return (saved[0] - saved[1]) / FULL / (65 if kind == "internvl_vision" else 64)


@pytest.mark.parametrize("kind", VISION)
def test_a_vision_layer_saves_the_numbers_that_are_counted(kind: str) -> None:
    small, wider, longer = (saved_by_a_layer(kind, *widths) for widths in ((256, 512), (256, 1024), (512, 512)))
    assert ((longer - small) / 256, (wider - small) / 512) == pytest.approx(VISION[kind], abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", ["true", "false"])
@pytest.mark.parametrize("tuning", ["lora", "full"])
@pytest.mark.parametrize("size", ["tiny", "158 million"])
def test_the_estimate_is_within_15_percent_of_what_a_step_allocates(
    size: str, tuning: str, checkpointing: str, tmp_path: Path
) -> None:
    tiny = size == "tiny"
    model = embedded_base() if tiny else internvl_of_158_million(tmp_path / "model")
    changes = [f"model={model}", f"tuning={tuning}", f"gradient_checkpointing={checkpointing}"]
    recipe = read_recipe(RECIPES / "tiny" / "1-label.yaml", [*changes, "per_device_train_batch_size=1"])
    counted = estimate(recipe)
    assert counted.counted_bytes == pytest.approx(real_peak(recipe, str(model), counted.image_tokens, 1), rel=0.15)


def test_quantised_weights_and_eight_bit_optimisers_need_less() -> None:
    path = RECIPES / "qwen2.5-vl-7b" / "1-label.yaml"
    plain, nf4 = estimate(read_recipe(path)), estimate(read_recipe(path, ["quantization=nf4"]))
    assert nf4.weights < 0.45 * plain.weights
    assert estimate(read_recipe(path, ["optim=adamw_bnb_8bit"])).optimizer * 4 == plain.optimizer
    full = estimate(read_recipe(path, ["tuning=full"]))
    assert full.trainable == full.parameters
    assert dataclasses.replace(plain, weights=0).training_bytes < plain.training_bytes


def test_a_run_that_would_not_fit_is_told_before_it_starts(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(RECIPES / "qwen2.5-vl-7b" / "1-label.yaml")
    assert main(["recipe", "estimate", recipe, "--memory", "80"]) == 0
    assert "GiB" in capsys.readouterr().out
    assert main(["recipe", "estimate", recipe, "--memory", "12"]) == 2
    assert "quantization=nf4" in capsys.readouterr().err


PAPER = RECIPES / "emocaliber-paper" / "3-calibrate-grpo.yaml"


def test_the_reference_model_and_vllms_share_are_counted() -> None:
    """Eight GPUs of 80 GB cannot hold weights, reference and a vLLM of .6 (99 GiB); a vLLM of .3 fits."""
    fits = estimate(read_recipe(PAPER), "zero2", 8, memory=80)
    assert fits.training_bytes / GIB < 80
    assert fits.reference == fits.weights > 15 * GIB
    assert fits.vllm == round(0.3 * 80 * GIB)
    larger = read_recipe(PAPER, ["vllm_gpu_memory_utilization=0.6"])
    assert estimate(larger, "zero2", 8, memory=80).training_bytes / GIB > 92
    assert estimate(read_recipe(PAPER, ["beta=0"]), "zero2", 8, memory=80).reference == 0


def test_a_vllm_that_would_not_start_is_refused() -> None:
    recipe = read_recipe(RECIPES / "qwen2.5-vl-7b" / "3-calibrate-grpo.yaml", ["vllm_max_model_length=128000"])
    with pytest.raises(UserError, match="one request of 128,000 tokens"):
        estimate(recipe, memory=72)


def test_sharding_divides_what_it_shards() -> None:
    recipe = read_recipe(RECIPES / "qwen2.5-vl-7b" / "1-label.yaml", ["tuning=full"])
    two_gpus, sixteen_gpus = estimate(recipe, "fsdp2", 2), estimate(recipe, "fsdp2", 16)
    assert (two_gpus.weights, two_gpus.gradients, two_gpus.optimizer) == pytest.approx(
        (8 * sixteen_gpus.weights, 8 * sixteen_gpus.gradients, 8 * sixteen_gpus.optimizer), rel=1e-6
    )
    assert two_gpus.activations == sixteen_gpus.activations
    zero2, zero3 = estimate(recipe, "zero2", 8), estimate(recipe, "zero3", 8)
    assert zero2.weights == pytest.approx(8 * zero3.weights, rel=1e-6)
    assert zero2.optimizer == zero3.optimizer
    assert estimate(recipe, "ddp", 8).optimizer == estimate(recipe).optimizer


def test_gradients_grow_while_activations_are_freed_unless_they_are_there_already() -> None:
    path = RECIPES / "qwen2.5-vl-7b" / "1-label.yaml"
    changes = ["tuning=full", "gradient_checkpointing=false"]
    fresh, resident = (estimate(read_recipe(path, [*changes, f"gradient_accumulation_steps={n}"])) for n in (1, 2))
    together = fresh.activations + fresh.vision + fresh.gradients
    assert max(fresh.gradients, together - fresh.gradients) < fresh.step < resident.step == together


def test_rollouts_by_transformers_need_a_cache() -> None:
    recipe = read_recipe(RECIPES / "qwen2.5-vl-7b" / "3-calibrate-grpo.yaml", ["use_vllm=false"])
    assert estimate(recipe).vllm == 0
    assert estimate(recipe).cache == 64 * (576 + 120 + 32) * 28 * 2 * 4 * 128 * 2


@pytest.mark.parametrize(("number", "tolerance"), [(FULL, 0.05), (HALF, 0.05)])
def test_what_a_gated_delta_net_saves_is_what_autograd_saves(number: int, tolerance: float) -> None:
    config = Qwen3_5TextConfig(
        hidden_size=256, linear_key_head_dim=64, linear_value_head_dim=32, linear_num_key_heads=4,
        linear_num_value_heads=8, num_hidden_layers=4,
    )  # fmt: skip
    mixer, tokens, kept = Qwen3_5GatedDeltaNet(config, 0), 512, dict[int, torch.UntypedStorage]()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    hidden = torch.randn(1, tokens, config.hidden_size, requires_grad=True)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=number == HALF),
    ):
        mixer(hidden)
    weights = {weight.untyped_storage()._cdata for weight in mixer.parameters()}
    saved = sum(storage.nbytes() for place, storage in kept.items() if place not in weights)
    inputs = (4.8 if number == FULL else 2.6) * config.hidden_size  # counted with the layer's hidden width
    assert _saved_by_delta_net(config, number) + inputs == pytest.approx(saved / tokens, rel=tolerance)


def test_a_hybrid_model_caches_keys_in_its_attention_layers_alone() -> None:
    text = Qwen3_5TextConfig(num_hidden_layers=4)
    assert layer_kinds(text) == ["linear_attention"] * 3 + ["full_attention"]
    state = 4 * 32 * 128 * 128 + 2 * (2 * 16 * 128 + 32 * 128) * 4
    assert _cache_of(text, tokens=1000, sequences=8) == 1000 * 2 * 4 * 256 * 2 + 8 * 3 * state
