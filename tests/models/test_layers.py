"""What LoRA's target reaches is counted in every layer, whatever mixes its tokens."""

from __future__ import annotations

import re

import pytest
import torch

from emocaliber.models.layers import layers_of, reach_of, target_of
from emocaliber.stages.recipe import LORA_TARGET
from tests.stages.families import FAMILIES

ATTENTION_NAMES = r".*(language_model|text_model).*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_default_target_reaches_every_layer_of_every_family_and_no_vision_tower(family: str) -> None:
    model, _ = FAMILIES[family]()
    for target in (LORA_TARGET, target_of(model)):
        reach = reach_of(model, target)
        assert reach.reached == reach.layers == len(layers_of(model)) > 0
        assert not reach.untouched
        inside = tuple(layers_of(model))
        outside = [name for name, _ in model.named_modules() if not name.startswith(inside)]
        assert not [name for name in outside if re.fullmatch(target, name)]
    linear = {
        name for layer in layers_of(model).values() for name, m in layer.named_modules() if type(m).__name__ == "Linear"
    }
    skipped = {name for name in linear if not re.fullmatch(LORA_TARGET, f"language_model.layers.0.{name}")}
    assert skipped <= {"per_layer_input_gate", "per_layer_projection"}, (
        "Gemma 4's per-layer embeddings alone stay frozen"
    )


@pytest.mark.parametrize(
    ("family", "reached", "untouched"),
    [
        ("qwen3.5", 1, {"linear_attn": 1}),
        ("minicpm-v", 1, {"linear_attn": 1}),
        ("lfm2-vl", 0, {"conv": 1, "feed_forward": 2}),
        ("qwen3-vl", 2, {}),
    ],
)
def test_names_of_attention_projections_alone_are_seen_to_leave_layers_out(
    family: str, reached: int, untouched: dict[str, int]
) -> None:
    model, _ = FAMILIES[family]()
    found = reach_of(model, ATTENTION_NAMES)
    assert (found.reached, found.untouched) == (reached, untouched)
    if untouched:
        assert "none in" in str(found)


def test_a_router_among_experts_need_not_be_reached() -> None:
    class Sparse(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.shared = torch.nn.Linear(4, 2), torch.nn.Linear(4, 4)

    model, _ = FAMILIES["qwen3-vl"]()
    layer = next(iter(layers_of(model).values()))
    layer.mlp = Sparse()
    assert target_of(model).count("gate_proj") == 1
    assert reach_of(model, target_of(model)).reached == 2
    assert reach_of(model, ATTENTION_NAMES).untouched == {"mlp": 1}
