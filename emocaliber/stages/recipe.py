"""A recipe: one flat YAML file with all settings of one stage, our keys and TRL's side by side.

Not a configuration language: no includes, no environment variables, no defaults that depend on other keys.

    emocaliber train recipes/tiny/1-label.yaml --out out/1-label
    emocaliber train recipes/tiny/1-label.yaml learning_rate=1e-3 max_steps=10 --out out/short
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from emocaliber.core.errors import UserError
from emocaliber.core.files import read_mapping
from emocaliber.core.images import SHOWN_PIXELS
from emocaliber.core.predictions import SIGNALS
from emocaliber.core.prompting import ANSWER_TOKENS
from emocaliber.stages.clusters import fold_of

Stage = Literal["label", "verbalize", "calibrate"]
Target = Literal["own-probability", "agreement", "degraded", "votes", "signals"]
Method = Literal["proper", "grpo", "rloo", "dpo", "kto"]
Advantages = Literal["answer", "segments"]
Correctness = Literal["label", "agreement", "group"]
Objective = Literal["mean-brier", "mean-log", "mean-spherical", "expected-brier", "expected-log", "expected-spherical"]
Tuning = Literal["lora", "full"]
Quantization = Literal["none", "nf4", "int8"]

PREFERENCES: tuple[Method, ...] = ("dpo", "kto")
"""The methods that learn from preference pairs."""

LORA_TARGET = (
    r".*(language_model|text_model).*\.(q_proj|k_proj|v_proj|o_proj|out_proj|in_proj|in_proj_(qkv|z|b|a)"
    r"|gate_proj|up_proj|down_proj|w1|w2|w3)"
)
"""All token mixers and MLPs of the language model, in the families that recipes ship for: attention, Qwen3.5's Gated
DeltaNet (in_proj_qkv, z, b, a and out_proj), LFM2's convolutions (in_proj, out_proj) and its MLP (w1, w2, w3)."""

_EXPONENT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")


@dataclass(frozen=True)
class Recipe:
    """One stage's settings. Each key says which stages and methods it is for; elsewhere it must keep its default."""

    path: Path
    stage: Stage
    # Names of embedded tasks, or Parquet files; and which splits of them ("emoji:train": of one task only).
    data: tuple[str, ...]
    splits: tuple[str, ...]
    template: str
    # A folder, a Hub name, or `tiny` for the backbone that ships with the package.
    model: str = "tiny"
    seed: int = 0
    # `lora_target`: a regular expression that must match a module's full name. One that leaves out some layers of the
    # language model is refused unless `lora_partial` says that this is intended.
    lora_r: int = 16
    lora_alpha: int = 32
    lora_target: str = LORA_TARGET
    lora_partial: bool = False
    # Stage 2: where the confidence to state comes from. own-probability: stage 1's label probability,
    # temperature-scaled. agreement: the share of its sampled answers that agree. degraded: the share of corrupted
    # copies of the picture on which its answer stays the same. signals: a map of `signals`, fitted on the calibration
    # rows (rows with votes: the raters' share). votes: the raters' share. Stage 1 with votes: the raters' distribution
    # instead of one label, where rows have votes.
    target: Target = "own-probability"
    # Standard deviation of the level targets around the confidence; 0 splits it between the two nearest levels.
    spread: float = 0.05
    # Stage 1: the fold of the clusters to leave out ("2/3"). Stage 2: stage-1 adapters to average, each applied to the
    # fold that it did not learn from.
    fold: str | None = None
    teachers: tuple[str, ...] = ()
    signals: tuple[str, ...] = ("blinded", "agreement", "hidden")
    # Stage 3: how the confidence is calibrated, and the share of the labelled clusters that is held out for selection.
    method: Method = "proper"
    held_out: float = 0.25
    # Method proper: the weight of the KL penalty to the starting model, and the proper score (of the mean level, or
    # expected over the levels).
    anchor: float = 1.0
    objective: Objective = "mean-brier"
    # Methods grpo and rloo: the scoring rule (see `emocaliber recipe rewards`), and what counts as correct: the
    # dominant label, the raters' share, or half the group's accuracy.
    reward: str = "brier-1"
    correctness: Correctness = "label"
    # Method grpo: one advantage for all tokens of an answer, or correctness for the label's and the score for the
    # confidence's.
    advantages: Advantages = "answer"
    # Methods dpo and kto: the file that `emocaliber data pairs` wrote.
    pairs: str | None = None
    # Also train all weights of the projector between vision tower and language model; saved with the adapter.
    train_projector: bool = False
    # LoRA's matrices, or every weight; and how the frozen weights under LoRA are held: as they are, in 4 bits (nf4 with
    # double quantisation: QLoRA, arXiv 2305.14314), or in 8.
    tuning: Tuning = "lora"
    quantization: Quantization = "none"
    # Larger pictures are scaled down to this many pixels; None leaves it to the model's processor.
    max_pixels: int | None = None
    # Whether a chat template with a thinking mode turns it on (methods grpo and rloo only: the other stages teach the
    # answer alone); None leaves it to the template.
    thinking: bool | None = None
    # Stages 2 and 3 query the model before: pictures at a time, and the longest answer in tokens (None: 32; set it for
    # a template that reasons).
    ask_batch_size: int = 96
    max_answer_tokens: int | None = None
    # Speed, with the same losses: keep a frozen vision tower's features while the stage runs; compute no padding
    # (supervised training, families listed in fast.families); compute a question once for all its answers (grpo and
    # rloo, Qwen-VL).
    keep_features: bool = True
    packing: bool = False
    share_questions: bool = True
    # Stage 3: evaluate the held-out rows every so many steps, or below 1 every such share of all steps (None: at every
    # checkpoint), on at most so many rows, drawn by the seed (None: all).
    held_out_steps: float | None = None
    held_out_rows: int | None = None
    # Stage 3: the level of the one-sided paired test by which the result must beat the start on the held-out rows, else
    # the start is the result (0.16: better by one standard error; 0.5: better at all; 1: always keep).
    gain_alpha: float = 0.16
    # Leave out and list rows that cannot be learned from (no readable picture; also in a more test-like split; in
    # stage 1 without a label), but stop above this share of the rows.
    drop_problems: bool = False
    max_dropped: float = 0.1
    # The keys of TRL's own configuration class.
    trainer: dict[str, Any] = field(default_factory=dict)

    @property
    def shown_pixels(self) -> int:
        """The number of pixels above which a picture is scaled down before the processor gets it."""
        return self.max_pixels or SHOWN_PIXELS

    @property
    def answer_tokens(self) -> int:
        """The longest answer of the model that the stage queries, in tokens."""
        return self.max_answer_tokens or ANSWER_TOKENS


def load_recipe(path: Path, trainer_keys: set[str], overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe. Keys must be ours or among `trainer_keys`; `overrides` ("key=value") replace values of the file.

    Raises UserError naming the file and the key where a key is unknown (with the nearest known one), missing, of the
    wrong type, in conflict with another or without effect, and for an `env:` block.
    """
    read = {key: _number(value) for key, value in read_mapping(path).items()}
    values = read | dict(_override(text) for text in overrides)
    ours = recipe_keys()
    for key in values:
        if key == "env":
            raise UserError(f"{path}: a recipe may not set environment variables; take the key 'env' out")
        if key not in ours | trainer_keys:
            near = difflib.get_close_matches(str(key), ours | trainer_keys, n=1)
            raise UserError(f"{path}: unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    for key in ("stage", "data", "splits", "template"):
        if key not in values:
            raise UserError(f"{path}: the key {key!r} is missing")
    checked = {key: _checked(path, key, value) for key, value in values.items() if key in ours}
    recipe = Recipe(path=path, trainer={key: value for key, value in values.items() if key not in ours}, **checked)
    _refuse_conflicts(recipe)
    _refuse_keys_without_effect(recipe)
    return recipe


def _refuse_conflicts(recipe: Recipe) -> None:
    path = recipe.path
    if recipe.tuning == "full" and recipe.quantization != "none":
        raise UserError(f"{path}: quantised weights cannot be trained themselves; give tuning: lora")
    if recipe.train_projector and recipe.tuning == "full":
        raise UserError(f"{path}: train_projector: with tuning: full every weight learns; take the key out")
    if recipe.train_projector and recipe.trainer.get("use_vllm"):
        raise UserError(
            f"{path}: train_projector: vLLM cannot load a trained projector from the trainer; give use_vllm: false"
        )
    if recipe.quantization != "none" and recipe.trainer.get("use_vllm"):
        raise UserError(
            f"{path}: quantization: vLLM cannot load quantised weights from the trainer; give use_vllm: false, or"
            " quantization: none"
        )
    if recipe.held_out_steps is not None and recipe.held_out_steps <= 0:
        raise UserError(
            f"{path}: held_out_steps: {recipe.held_out_steps} is neither a number of steps nor a share of them"
        )
    if not 0 < recipe.gain_alpha <= 1:
        raise UserError(
            f"{path}: gain_alpha: {recipe.gain_alpha} is not a significance level; give one above 0, at most 1"
        )


def _refuse_keys_without_effect(recipe: Recipe) -> None:
    """Refuse keys that the stage or method ignores, and preferences without pairs."""
    _refuse_signals(recipe)
    if recipe.stage == "label" and recipe.target in ("agreement", "degraded", "signals"):
        raise UserError(f"{recipe.path}: target: stage label learns the labels, or with votes the raters' distribution")
    if recipe.fold is not None and recipe.stage != "label":
        raise UserError(f"{recipe.path}: fold: stage label leaves a fold out, no other; take the key out")
    if recipe.teachers and (recipe.stage != "verbalize" or recipe.target != "own-probability"):
        raise UserError(f"{recipe.path}: teachers: stage verbalize asks them, for target own-probability alone")
    try:
        fold_of(recipe.fold or "1/2")
    except ValueError as error:
        raise UserError(f"{recipe.path}: fold: {error}") from None
    if recipe.stage == "calibrate" and recipe.method in PREFERENCES and recipe.pairs is None:
        raise UserError(
            f"{recipe.path}: method {recipe.method} learns from pairs; give pairs: FILE of `emocaliber data pairs`"
        )
    if recipe.pairs is not None and recipe.method not in PREFERENCES:
        raise UserError(f"{recipe.path}: pairs: method {recipe.method} learns from no pairs; take the key out")
    selection = ("held_out_steps", "held_out_rows", "gain_alpha")
    if recipe.stage != "calibrate" and any(getattr(recipe, key) != getattr(Recipe, key) for key in selection):
        raise UserError(f"{recipe.path}: {', '.join(selection)}: stage calibrate alone holds rows out; take them out")
    if recipe.thinking and (recipe.stage != "calibrate" or recipe.method not in ("grpo", "rloo")):
        raise UserError(
            f"{recipe.path}: thinking: what stage {recipe.stage} teaches is the answer without thoughts, methods grpo"
            " and rloo alone let a model think; give thinking: false"
        )
    if recipe.advantages == "segments" and recipe.method != "grpo":
        raise UserError(f"{recipe.path}: advantages: segments are an option of method grpo; take the key out")


def _refuse_signals(recipe: Recipe) -> None:
    if recipe.target != "signals":
        if recipe.signals != Recipe.signals:
            raise UserError(f"{recipe.path}: signals: target {recipe.target} asks for none; take the key out")
        return
    # stage 1 writes no reasoning; pairs of rows are compared by `predict` alone
    possible = tuple(name for name in SIGNALS if name not in ("along", "relative"))
    if wrong := [name for name in recipe.signals if name not in possible]:
        raise UserError(f"{recipe.path}: signals: {wrong[0]!r} is not one of {', '.join(possible)}")


def recipe_keys() -> set[str]:
    """The keys that are ours, not the trainer's."""
    return {f.name for f in dataclasses.fields(Recipe)} - {"path", "trainer"}


def _override(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    if not sign or not key.isidentifier():
        raise UserError(f"{text!r} is no override; write key=value, such as learning_rate=1e-4")
    try:
        return key, _number(yaml.safe_load(value))
    except yaml.YAMLError as error:
        raise UserError(f"{text!r}: the value is not readable as YAML; put it in quotes") from error


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-5, without a dot, as text; a recipe means the number."""
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def _checked(path: Path, key: str, value: Any) -> Any:
    choices = {"stage": get_args(Stage), "target": get_args(Target), "method": get_args(Method)}
    choices |= {"correctness": get_args(Correctness), "objective": get_args(Objective)}
    choices |= {"advantages": get_args(Advantages)}
    choices |= {"tuning": get_args(Tuning), "quantization": get_args(Quantization)}
    if key in choices and value not in choices[key]:
        raise UserError(f"{path}: {key}: {value!r} is not one of {', '.join(choices[key])}")
    if key in {"data", "splits", "teachers", "signals"}:
        if not (isinstance(value, list) and value and all(isinstance(v, str) for v in value)):
            example = value if isinstance(value, str) else "kaomoji, emoji"
            raise UserError(f"{path}: {key}: give a list such as [{example}]")
        return tuple(value)
    optional = {"max_pixels", "pairs", "fold", "max_answer_tokens", "held_out_steps", "held_out_rows", "thinking"}
    if key in optional and value is None:
        return None
    integers = ("seed", "lora_r", "lora_alpha", "max_pixels", "ask_batch_size", "max_answer_tokens", "held_out_rows")
    kinds: dict[str, type | tuple[type, ...]] = dict.fromkeys(integers, int)
    shares = ("spread", "held_out", "anchor", "held_out_steps", "gain_alpha", "max_dropped")
    kinds |= dict.fromkeys(shares, (int, float))
    switches = {"train_projector", "keep_features", "packing", "share_questions", "drop_problems", "lora_partial"}
    if key in switches | {"thinking"} and not isinstance(value, bool):
        raise UserError(f"{path}: {key}: {value!r} is neither true nor false")
    kinds |= dict.fromkeys(("template", "model", "lora_target", "reward", "pairs", "fold"), str)
    if key in kinds and (isinstance(value, bool) or not isinstance(value, kinds[key])):
        raise UserError(f"{path}: {key}: {value!r} is of the wrong kind")
    return value
