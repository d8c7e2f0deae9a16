"""A recipe: one flat YAML file that says everything about one stage, ours and TRL's keys side by side.

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
"""The methods that learn from pairs of answers."""

LORA_TARGET = (
    r".*(language_model|text_model).*\.(q_proj|k_proj|v_proj|o_proj|out_proj|in_proj|in_proj_(qkv|z|b|a)"
    r"|gate_proj|up_proj|down_proj|w1|w2|w3)"
)
"""What mixes tokens and the MLP in every layer of the families that recipes ship for: attention, Qwen3.5's Gated
DeltaNet (in_proj_qkv, z, b, a and out_proj), LFM2's convolutions (in_proj, out_proj) and its MLP (w1, w2, w3)."""

_EXPONENT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")


@dataclass(frozen=True)
class Recipe:
    """What one stage does.

    `model` is a folder, a hub name, or `tiny` for the backbone that ships with the package. `data` names embedded tasks
    or Parquet files, `splits` which rows of them ("emoji:train": of one task alone). `target` (stage 2) is where the
    confidence to be said comes from: the model's own scaled probability, the share of its drawn answers that agree, the
    share of spoilt copies of the picture that its answer survives, a map of its `signals` that is fitted on the
    calibration rows (rows with votes: the raters' share), or the raters' share (stage 1 learns their whole
    distribution by target: votes, where rows have votes, in the place of one label); `fold` ("2/3") the clusters
    that stage 1 does not learn from, and `teachers` the stage-1 adapters whose mean probability is stage 2's target,
    each asked about the fold that it was kept from; `method` (stage 3) how what is said is calibrated; `held_out` the
    share of the calibration clusters to select on; `anchor` the weight of staying close to the model that the stage
    started from;
    `objective` the proper score of the proper loss, of the mean level or expected over the levels;
    `reward` the scoring rule that GRPO and RLOO pay by (see `emocaliber recipe rewards`) and `correctness` what it
    counts as right: the dominant label, the raters' share, or half the group's accuracy; `advantages` (GRPO) whether
    every token of an answer learns from the reward, or the label's from correctness and the confidence's from the
    score; `pairs` the file that `emocaliber data pairs` wrote, which DPO and KTO learn from.
    `lora_target` is the pattern of the names of the modules that LoRA stands beside, and `lora_partial` says that it is
    meant to leave out a part of the language model's layers, which is refused otherwise;
    `train_projector` says whether what stands between vision tower and language model learns as well, all its
    weights, saved with the adapter; `tuning` what else: LoRA's matrices or every weight; `quantization` how the
    frozen weights beneath LoRA are held: as they are, in 4 bits (nf4, quantised twice: QLoRA, arXiv 2305.14314) or in
    8; `max_pixels` the size above which a picture is scaled down (as the model's processor says where it is not
    given); `thinking` whether a chat template that knows thoughts asks for them (GRPO and RLOO alone: what the other
    stages teach is the answer), or as the template has it where it is not given; `ask_batch_size` how many pictures the
    teacher of stages 2 and 3 is asked at a time, and `max_answer_tokens` how long its answer may be (needed where the
    template reasons, else 32); `keep_features`
    whether what a frozen vision tower makes of a picture is kept while the stage runs; `packing` whether the padding
    of a batch and what its loss does not look at are left out (stages 1 and 2, and 3 by a proper loss; refused for a
    family whose rows cannot be kept apart); `share_questions` whether GRPO and RLOO compute a question once for all its
    answers (Qwen-VL);
    `held_out_steps` (stage 3) after how many steps, or which share of them, the held-out rows are evaluated (where
    not given: at each checkpoint), `held_out_rows` how many of them, drawn by the seed (where not given: all), and
    `gain_alpha` the level of the one-sided paired test by which its result must be better on them than its start, which
    is the result otherwise (0.16: by a standard error; 0.5: at all; 1: whatever it is);
    `drop_problems` whether rows that cannot be learned from (no readable picture, shared with a more test-like split,
    in stage 1 without a label) are left out and listed, and `max_dropped` the share of the rows above which it stops
    all the same. `trainer` holds the keys of TRL's own class.
    """

    path: Path
    stage: Stage
    data: tuple[str, ...]
    splits: tuple[str, ...]
    template: str
    model: str = "tiny"
    seed: int = 0
    lora_r: int = 16
    lora_alpha: int = 32
    lora_target: str = LORA_TARGET
    lora_partial: bool = False
    target: Target = "own-probability"
    spread: float = 0.05
    fold: str | None = None
    teachers: tuple[str, ...] = ()
    signals: tuple[str, ...] = ("blinded", "agreement", "hidden")
    method: Method = "proper"
    held_out: float = 0.25
    anchor: float = 1.0
    objective: Objective = "mean-brier"
    reward: str = "brier-1"
    correctness: Correctness = "label"
    advantages: Advantages = "answer"
    pairs: str | None = None
    train_projector: bool = False
    tuning: Tuning = "lora"
    quantization: Quantization = "none"
    max_pixels: int | None = None
    thinking: bool | None = None
    ask_batch_size: int = 96
    max_answer_tokens: int | None = None
    keep_features: bool = True
    packing: bool = False
    share_questions: bool = True
    held_out_steps: float | None = None
    held_out_rows: int | None = None
    gain_alpha: float = 0.16
    drop_problems: bool = False
    max_dropped: float = 0.1
    trainer: dict[str, Any] = field(default_factory=dict)

    @property
    def shown_pixels(self) -> int:
        """The size in pixels above which a picture is made smaller before the processor sees it."""
        return self.max_pixels or SHOWN_PIXELS

    @property
    def answer_tokens(self) -> int:
        """The longest answer of a model that the stage asks, in tokens."""
        return self.max_answer_tokens or ANSWER_TOKENS


def load_recipe(path: Path, trainer_keys: set[str], overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe; keys that are not ours must be among `trainer_keys`; `overrides` ("key=value") replace its values.

    Raises UserError naming the file and the key where a key is unknown (with the nearest known one), missing, of the
    wrong kind, or where an `env:` block would set environment variables.
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
    own = {key: _checked(path, key, value) for key, value in values.items() if key in ours}
    recipe = Recipe(path=path, trainer={key: value for key, value in values.items() if key not in ours}, **own)
    if recipe.tuning == "full" and recipe.quantization != "none":
        raise UserError(f"{path}: quantised weights cannot be trained themselves; give tuning: lora")
    if recipe.train_projector and recipe.tuning == "full":
        raise UserError(f"{path}: train_projector: with tuning: full every weight learns; take the key out")
    if recipe.train_projector and recipe.trainer.get("use_vllm"):
        raise UserError(
            f"{path}: train_projector: vLLM cannot take a projector that learns over from the trainer; give"
            " use_vllm: false"
        )
    if recipe.quantization != "none" and recipe.trainer.get("use_vllm"):
        raise UserError(
            f"{path}: quantization: vLLM cannot take quantised weights over from the trainer; give use_vllm: false, or"
            " quantization: none"
        )
    if recipe.held_out_steps is not None and recipe.held_out_steps <= 0:
        raise UserError(
            f"{path}: held_out_steps: {recipe.held_out_steps} is neither a number of steps nor a share of them"
        )
    if not 0 < recipe.gain_alpha <= 1:
        raise UserError(f"{path}: gain_alpha: {recipe.gain_alpha} is no level of a test; give one above 0, at most 1")
    _refuse_idle_keys(recipe)
    return recipe


def _refuse_idle_keys(recipe: Recipe) -> None:
    """Keys that the stage or method would not look at; and preferences, which need pairs."""
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
    watching = ("held_out_steps", "held_out_rows", "gain_alpha")
    if recipe.stage != "calibrate" and any(getattr(recipe, key) != getattr(Recipe, key) for key in watching):
        raise UserError(f"{recipe.path}: {', '.join(watching)}: stage calibrate alone holds rows out; take them out")
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
    possible = tuple(name for name in SIGNALS if name != "along")  # stage 1 writes no reasoning
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
    """YAML 1.1 takes 1e-5, without a dot, for text; everybody means the number."""
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
