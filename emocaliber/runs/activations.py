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
PROMPT_TOKENS, ANSWER_TOKENS = 120, 24
PATCHES = 4  # of the vision tower for each image token, before they are merged

Factors = tuple[float, float, float, float]
SAVED: dict[tuple[str, int], Factors] = {  # bytes by (tuning, bytes of a number): hidden, query, key-value, MLP width
    ("lora", FULL): (18.5, 5.2, 5.1, 16.4),
    ("full", FULL): (26.5, 5.2, 5.1, 16.4),
    ("lora", HALF): (19.3, 4.7, 2.6, 8.2),
    ("full", HALF): (25.3, 2.7, 2.6, 8.2),  # under autocast, with the norms in float32
}
NORMED = 3  # more for each number of queries and keys where these have norms of their own
VISION_HIDDEN, VISION_MLP = 14, 4  # numbers that a vision layer saves for each patch


@dataclass(frozen=True)
class Work:
    """Tokens of the sequences of one step's forward pass, of those the ones whose logits are kept, and patches."""

    tokens: int
    answers: int
    patches: int


def step_tokens(recipe: Recipe, image_tokens: int, rows: int) -> Work:
    """Of `rows` rows. GRPO and RLOO may share a question's tokens among its answers; DPO reads each question twice."""
    question, answer, sequences = image_tokens + PROMPT_TOKENS, ANSWER_TOKENS, rows
    questions = rows
    if recipe.stage == "calibrate" and recipe.method in ("grpo", "rloo"):
        answer = int(recipe.trainer.get("max_completion_length", 256))
        if recipe.share_questions:
            questions = -(-rows // int(recipe.trainer.get("num_generations", 8 if recipe.method == "grpo" else 2)))
    elif recipe.stage == "calibrate" and recipe.method == "dpo":
        questions = sequences = 2 * rows
    return Work(questions * question + sequences * answer, sequences * (answer + 1), questions * image_tokens * PATCHES)


def activations(recipe: Recipe, text: Any, work: Work, number: int) -> int:
    """Of the language model, and of the answers' logits: as they are, in float32, their log and gradient."""
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    queries, keys = head * text.num_attention_heads, head * text.num_key_value_heads
    hidden, query, key_value, mlp = SAVED[recipe.tuning, number]
    if text.model_type.startswith("qwen3"):
        query, key_value = query + NORMED, key_value + NORMED
    a_token = hidden * text.hidden_size + query * queries + key_value * keys + mlp * text.intermediate_size
    logits = work.answers * text.vocab_size * (number + 3 * FULL)
    if recipe.trainer.get("gradient_checkpointing", True):
        between = text.hidden_size * number * text.num_hidden_layers
        return int(work.tokens * (a_token + between) + logits)
    return int(work.tokens * a_token * text.num_hidden_layers + logits)


def vision_activations(recipe: Recipe, vision: Any, patches: int, number: int) -> int:
    """Of the vision tower: one layer's while it is frozen, since the next one takes its place; all where it learns."""
    hidden = vision.hidden_size
    layers = getattr(vision, "depth", None) or vision.num_hidden_layers
    in_layer = patches * (VISION_HIDDEN * hidden + VISION_MLP * vision.intermediate_size) * number
    if recipe.tuning != "full":
        return int(in_layer)
    if recipe.trainer.get("gradient_checkpointing", True):
        return int(in_layer + patches * hidden * number * layers)
    return int(in_layer * layers)
