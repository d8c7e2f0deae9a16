"""Whether LoRA reaches every layer of the language model, asked before any weight is loaded.

refuse_partial(recipe, meta_model(configuration(recipe)))
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from emocaliber.core.errors import UserError
from emocaliber.models.layers import Reach, meta_model, reach_of, target_of
from emocaliber.models.location import model_folder
from emocaliber.stages.loading import missing_model
from emocaliber.stages.recipe import Recipe

ARCHITECTURE = "architecture.json"


def configuration(recipe: Recipe) -> PretrainedConfig:
    """The model's configuration: of the recipe's own folder (Qwen3.5-4B.json for Qwen/Qwen3.5-4B, or
    architecture.json), else of the model's folder or hub.

    Raises UserError where it cannot be found.
    """
    model = model_folder(recipe.model)
    beside = [recipe.path.parent / name for name in (f"{Path(model).name}.json", ARCHITECTURE)]
    written = [file for file in beside if file.is_file()]
    source = str(written[0]) if written and not Path(model).is_dir() else model
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(source)
    except OSError as error:
        raise UserError(missing_model(model, error)) from error
    # Gemma 4's heads are wider in some layers: what is counted by one width is counted by that of most
    config.get_text_config().allow_global_per_layer_attribute_access = True
    return config


def model_without_weights(recipe: Recipe) -> Any:
    """The recipe's model on the meta device. Raises UserError where it is none that sees pictures."""
    try:
        return meta_model(configuration(recipe))
    except ValueError as error:
        if "Unrecognized configuration class" not in str(error):
            raise
        raise UserError(f"{recipe.model}: this is no vision-language model that transformers knows") from error


def refuse_partial(recipe: Recipe, model: PreTrainedModel) -> Reach | None:
    """What `lora_target` reaches of the model; None where every weight learns.

    Raises UserError where it names no module, and where it leaves a part of a layer out unless `lora_partial` is set.
    """
    if recipe.tuning == "full":
        return None
    if not any(re.fullmatch(recipe.lora_target, name) for name, _ in model.named_modules()):
        raise UserError(
            f"{recipe.path}: lora_target matches no module of {recipe.model} ({type(model).__name__}); every layer of"
            f" its language model: lora_target: '{target_of(model)}'"
        )
    reach = reach_of(model, recipe.lora_target)
    if reach.untouched and not recipe.lora_partial:
        raise UserError(
            f"{recipe.path}: lora_target reaches {reach} layers of {recipe.model}'s language model; to reach all, take"
            f" the key out or give lora_target: '{target_of(model)}'; if that is meant, give lora_partial: true"
        )
    return reach
