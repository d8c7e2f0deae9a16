"""What the backward pass of a step keeps: of the language model's layers, of the vision tower's, and of the logits.

Counted from widths: a layer's bytes for each token are a sum over hidden, query, key-value and MLP width with the
factors below, which are what autograd was seen to save on a CPU (tests/runs/test_estimate.py measures them again).

    work = step_tokens(recipe, image_tokens=576, rows=8)
    activations(recipe, config.get_text_config(), work, number=2)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emocaliber.stages.recipe import Recipe

HALF, FULL = 2, 4  # bytes of a number
ATTENTION, DELTA_NET = "full_attention", "linear_attention"
PROMPT_TOKENS, ANSWER_TOKENS = 120, 24
PATCHES = 4  # of the vision tower for each image token, before they are merged

Factors = tuple[float, float, float, float]
SAVED: dict[tuple[str, int], Factors] = {  # bytes by (tuning, bytes of a number): hidden, query, key-value, MLP width
    ("lora", FULL): (18.5, 5.2, 5.1, 16.4),
    ("full", FULL): (26.5, 5.2, 5.1, 16.4),
    ("lora", HALF): (19.3, 4.7, 2.6, 8.2),
    ("full", HALF): (25.3, 2.7, 2.6, 8.2),  # under autocast, with the norms in float32
}
DELTA: dict[int, tuple[float, float, float, float]] = {  # bytes that a Gated DeltaNet saves, by bytes of a number: of
    FULL: (10.5, 48.3, 47.7, 18.4),  # query and key width, value width, a key for each value head, scores in a chunk
    HALF: (5.6, 44.6, 43.3, 9.0),  # transformers' own implementation, largely in float32, without a faster kernel
}
CHUNK = 64  # tokens that it takes at once
NORMED = 3  # more for each number of queries and keys where these have norms of their own
VISION: dict[str, tuple[int, int]] = {  # numbers that a vision layer saves for each patch: of hidden, of MLP width
    "qwen2_5_vl_vision": (13, 4),  # a gated MLP keeps gate, its activation, up and their product
    "qwen3_vl_vision": (11, 2),
    "smolvlm_vision": (8, 2),
    "internvl_vision": (10, 2),
}
VISION_OTHER = (13, 4)
FRAMES = 2  # a picture stands twice in a patch of Qwen's, as two frames


@dataclass(frozen=True)
class Work:
    """Tokens of the sequences of one step's forward pass, of those the ones whose logits are kept, and patches."""

    tokens: int
    answers: int
    patches: int


def step_tokens(recipe: Recipe, image_tokens: int, rows: int) -> Work:
    """Of `rows` rows. GRPO and RLOO may share a question's tokens among its answers; DPO reads each question twice."""
    question, answer, sequences = image_tokens + PROMPT_TOKENS, recipe.max_answer_tokens or ANSWER_TOKENS, rows
    questions = rows
    if recipe.stage == "calibrate" and recipe.method in ("grpo", "rloo"):
        answer = int(recipe.trainer.get("max_completion_length", 256))
        if recipe.share_questions:
            questions = -(-rows // int(recipe.trainer.get("num_generations", 8 if recipe.method == "grpo" else 2)))
    elif recipe.stage == "calibrate" and recipe.method == "dpo":
        questions = sequences = 2 * rows
    return Work(questions * question + sequences * answer, sequences * (answer + 1), questions * image_tokens * PATCHES)


@dataclass(frozen=True)
class Activations:
    """Bytes that the forward pass of a step leaves for the backward pass, and what it makes anew there.

    `language` and `vision` stay from the forward pass on; `language_layer` and `vision_layer` are one layer's, computed
    again under gradient checkpointing, or passing by in a frozen tower; `logits` those of the answers.
    """

    pixels: int
    logits: int
    language: int
    language_layer: int
    vision: int
    vision_layer: int

    def largest_moment(self, gradients: int, embedding: int, tied: bool, resident: bool) -> int:
        """The most that activations and gradients take together during a step.

        The backward pass frees activations while it fills gradients: first the head's, then the layers' from the last
        to the first, then the vision tower's. `embedding` is the gradient of the embedding, 0 where it does not learn;
        `tied` says that the head is the same matrix, whose second gradient is added to the first in a third.
        `resident` gradients are there all the time, as with accumulation.
        """
        forward = self.vision + self.vision_layer + (gradients if resident else 0)
        head = gradients if resident else embedding
        begins = self.vision + self.language + head + max(self.logits, self.language_layer)
        layers_done = self.vision + gradients + max(self.language_layer, self.vision_layer if self.vision else 0)
        ends = gradients + (2 * embedding if tied else 0)
        return self.pixels + max(forward, begins, layers_done, ends)


def activations(recipe: Recipe, config: Any, work: Work, number: int) -> Activations:
    """Of the language model, the vision tower and the answers' logits: as they are, in float32, their log and gradient.

    Gradient checkpointing keeps the inputs of layers, those of a frozen tower too: TRL makes the outputs of every
    embedding require a gradient.
    """
    text, vision = config.get_text_config(), config.vision_config
    checkpointing, full = bool(recipe.trainer.get("gradient_checkpointing", True)), recipe.tuning == "full"
    layers = [work.tokens * _saved_for_a_token(recipe, text, number, kind) for kind in layer_kinds(text)]
    tower_layer = work.patches * _saved_for_a_patch(vision) * number
    depth = getattr(vision, "depth", None) or vision.num_hidden_layers
    between = work.tokens * text.hidden_size * number * text.num_hidden_layers
    between_tower = work.patches * vision.hidden_size * number * depth
    patch = vision.patch_size if isinstance(vision.patch_size, int) else vision.patch_size[0]
    return Activations(
        pixels=work.patches * 3 * FRAMES * patch**2 * FULL,
        logits=work.answers * text.vocab_size * (number + 3 * FULL),
        language=round(between if checkpointing else sum(layers)),
        language_layer=round(max(layers)) if checkpointing else 0,
        vision=between_tower if checkpointing else tower_layer * depth if full else 0,
        vision_layer=tower_layer if checkpointing or not full else 0,
    )


def layer_kinds(text: Any) -> list[str]:
    """What mixes tokens in each layer of the language model, as its configuration says."""
    return list(getattr(text, "layer_types", None) or [ATTENTION] * text.num_hidden_layers)


def _saved_for_a_token(recipe: Recipe, text: Any, number: int, kind: str) -> float:
    """Bytes of one layer of the language model. What a convolution saves is counted as attention's."""
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    queries, keys = head * text.num_attention_heads, head * text.num_key_value_heads
    hidden, query, key_value, mlp = SAVED[recipe.tuning, number]
    if kind == DELTA_NET:
        return float(hidden * text.hidden_size + mlp * text.intermediate_size + _saved_by_delta_net(text, number))
    if text.model_type.startswith("qwen3"):
        query, key_value = query + NORMED, key_value + NORMED
    return float(hidden * text.hidden_size + query * queries + key_value * keys + mlp * text.intermediate_size)


def _saved_by_delta_net(text: Any, number: int) -> float:
    heads, key = text.linear_num_value_heads, text.linear_key_head_dim
    widths = (2 * key * text.linear_num_key_heads, heads * text.linear_value_head_dim, heads * key, heads * CHUNK)
    return float(sum(each * width for each, width in zip(DELTA[number], widths, strict=True)))


def _saved_for_a_patch(vision: Any) -> int:
    """Numbers of one layer of the vision tower."""
    hidden, mlp = VISION.get(vision.model_type, VISION_OTHER)
    return int(hidden * vision.hidden_size + mlp * vision.intermediate_size)
