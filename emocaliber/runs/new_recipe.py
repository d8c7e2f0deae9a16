"""A first recipe for a model that none ships for: the three stages, GRPO and an evaluation, from what the model says.

Its configuration says which matrices mix tokens (LoRA's target), its processor how large a picture may be and whether
its chat template knows thoughts. Learning rates, batches and steps are those of the other shipped recipes: starting
points, not the result of a search.

    emocaliber recipe new path/to/model my-recipes
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoProcessor, PretrainedConfig

from emocaliber.core.errors import UserError
from emocaliber.core.files import write_atomically
from emocaliber.models.layers import meta_model, reach_of, target_of
from emocaliber.models.location import check_model, model_folder
from emocaliber.models.thinking import knows_thinking
from emocaliber.runs.image_tokens import image_tokens
from emocaliber.stages.fast.families import PACKED, WITHOUT_DRAWS
from emocaliber.stages.recipe import LORA_TARGET, Recipe

LARGE_PICTURE = 1200  # tokens from which a GPU of 24 GB holds two rows rather than eight

STAGES = {
    "1-label": """\
# Stage 1: name the emotion. LoRA on the language model of {name}.
# Trains on the embedded pictures; on your own: emocaliber train RECIPE 'data=[mine.parquet]' --out DIR
stage: label
model: {model}
data: [kaomoji, emoji]
splits: [train]
template: label
seed: 0
{own}
lora_r: 16
lora_alpha: 32

{batch}num_train_epochs: 1
learning_rate: 1.0e-4
""",
    "2-verbalize": """\
# Stage 2: state the confidence. The stage-1 model's label probability, temperature-scaled on the calibration split,
# becomes the confidence to state; where the data has raters' votes, their share can be used instead (target=votes).
stage: verbalize
model: {model}
data: [kaomoji, emoji]
splits: [unlabelled, "emoji:train"]
template: label-confidence
target: own-probability
spread: 0.05
seed: 0
{own}ask_batch_size: {ask}

{batch}num_train_epochs: 1
learning_rate: 5.0e-5
""",
    "3-calibrate": """\
# Stage 3: calibrate the stated confidence on the calibration split, by whether the model's own answers are correct:
# the Brier score of the mean level, and a KL penalty to stage 2's label probability. If this is not better than
# stage 2 by a standard error on a held-out quarter (gain_alpha: 0.16), the result is stage 2's adapter.
stage: calibrate
model: {model}
data: [kaomoji, emoji]
splits: [calibrate]
template: label-confidence
method: proper
held_out: 0.25
held_out_steps: 0.5           # at the start, halfway and at the end
held_out_rows: 200
anchor: 1.0
seed: 0
{own}ask_batch_size: {ask}

{batch}num_train_epochs: 2
learning_rate: 2.0e-5
""",
}
SUPERVISED = """\
lr_scheduler_type: cosine
warmup_steps: {warmup}
weight_decay: 0.0
logging_steps: 5
save_steps: {save}

bf16: true
gradient_checkpointing: true
gradient_checkpointing_kwargs: {{use_reentrant: false}}
dataloader_num_workers: 4
"""
GRPO = """\
# Stage 3 by GRPO with the Brier reward, rollouts by vLLM on the same GPU (needs the extra 'vllm'), from stage 2's
# adapter. No division by the group's standard deviation: it would drive the stated confidence to the extremes.
stage: calibrate
model: {model}
data: [kaomoji, emoji]
splits: [calibrate]
template: label-confidence
method: grpo
held_out: 0.25
held_out_steps: 0.5           # at the start, halfway and at the end
held_out_rows: 200
seed: 0
{own}ask_batch_size: {ask}

per_device_train_batch_size: 8
gradient_accumulation_steps: 8
num_generations: 8
max_completion_length: 32
max_steps: 200
learning_rate: 1.0e-5
lr_scheduler_type: constant
beta: 0.01
temperature: 1.0
loss_type: dr_grpo
logging_steps: 1
save_steps: 20

use_vllm: true
vllm_mode: colocate
vllm_gpu_memory_utilization: 0.3
vllm_max_model_length: {length}   # one picture, question and answer; the default is the model's maximum
bf16: true
gradient_checkpointing: true
gradient_checkpointing_kwargs: {{use_reentrant: false}}
"""
EVALUATE = """\
# Greedy answers to calibration and test rows, scored. Give an exported model (with pixel limit and thinking mode):
# emocaliber run {folder}/evaluate.yaml --model out/model --out out/evaluation
data: [kaomoji, emoji]
suite: eval/suites/tiny.yaml
template: label-confidence
engine: vllm
dtype: bfloat16
max_model_len: 4096
max_new_tokens: 32
method: {method}
"""


@dataclass(frozen=True)
class Facts:
    """What the files depend on: the model's name or folder, its family (`model_type`), the tokens of its largest
    picture, the pixels that it is limited to (None where it has no such limit), whether its template knows thoughts,
    and LoRA's target where the default does not reach every layer.
    """

    model: str
    family: str
    tokens: int
    max_pixels: int | None
    thinks: bool
    lora_target: str | None


def facts_of(model: str, config: PretrainedConfig, processor: Any) -> Facts:
    """From a model's configuration and processor."""
    empty = meta_model(config)
    size, merge = processor.image_processor.size, getattr(config.vision_config, "spatial_merge_size", None)
    limited = merge is not None and size is not None and None not in (size.shortest_edge, size.longest_edge)
    return Facts(
        model=model,
        family=config.model_type,
        tokens=image_tokens(Recipe(Path(model), "label", (), (), "label", model=model), config),
        max_pixels=576 * (config.vision_config.patch_size * merge) ** 2 if limited else None,
        thinks=knows_thinking(processor),
        lora_target=target_of(empty) if reach_of(empty, LORA_TARGET).untouched else None,
    )


def read_facts(model: str) -> Facts:
    """Of a model's folder, or a hub name that the local cache holds. Raises UserError where either part is missing."""
    check_model(model, "MODEL")
    try:
        config = AutoConfig.from_pretrained(model_folder(model), local_files_only=True)
        processor = AutoProcessor.from_pretrained(model_folder(model), local_files_only=True)  # type: ignore[no-untyped-call]
        return facts_of(model, config, processor)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(
            f"{model}: no recipe can be made of it ({first}); it must be a vision-language model that transformers"
            " knows, in a folder or in the hub's local cache"
        ) from error


def written(facts: Facts, folder: str) -> dict[str, str]:
    """The files of a recipe's folder by name."""
    large, name = facts.tokens > LARGE_PICTURE, Path(facts.model).name
    rows, accumulation = (2, 16) if large else (8, 4)
    own = "" if facts.max_pixels is None else f"max_pixels: {facts.max_pixels:<17} # 576 image tokens\n"
    if facts.thinks:
        own += "thinking: false               # only the answer is trained, no thoughts before it\n"
    if facts.lora_target is not None:
        own += f"lora_target: '{facts.lora_target}'\n"
    shared = {
        "model": facts.model,
        "name": name,
        "own": own,
        "ask": 8 if large else 16,
        "batch": f"per_device_train_batch_size: {rows}\ngradient_accumulation_steps: {accumulation}\n",
        "length": 4096 if large else 2048,
    }
    packing = "packing: true\n" if facts.family in PACKED and not large else ""
    files = {
        f"{stage}.yaml": text.format_map(shared)
        + SUPERVISED.format(warmup=0.1 if stage == "3-calibrate" else 0.05, save=10 if stage == "3-calibrate" else 50)
        + packing
        for stage, text in STAGES.items()
    }
    if facts.family not in WITHOUT_DRAWS:
        files["3-calibrate-grpo.yaml"] = GRPO.format_map(shared)
    files["evaluate.yaml"] = EVALUATE.format(folder=folder, method=Path(folder).name)
    return files


def new_recipe(model: str, folder: Path) -> list[Path]:
    """Write a first recipe into a new folder; the paths of its files. Raises UserError where the folder is there."""
    if folder.exists():
        raise UserError(f"{folder} exists already; name another folder")
    made = written(read_facts(model), str(folder))
    for name, text in made.items():
        write_atomically(folder / name, [text.encode()])
    return [folder / name for name in made]
