"""Where a stage goes through the vision tower once for each picture, and what it says when it does not.

Here the recipe decides, by its key `keep_features`; store and tower are in vision_features. Features lie under
`OUT/features` while a stage runs, written by the teacher that it queries and by its learner alike, and are removed at
its end. For one process alone.

    keep_features: false      # in a recipe: pictures go through the tower at each step
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate import PartialState

from emocaliber.core.images import load_image
from emocaliber.core.samples import Sample
from emocaliber.stages.fast.families import is_qwen, vision_holder
from emocaliber.stages.fast.internvl_features import LAST, InternVLFeatures, InternVLTower
from emocaliber.stages.fast.vision_features import (
    BATCH,
    FeatureProcessor,
    FeatureStore,
    FeatureTower,
    maker_of,
    picture_key,
)
from emocaliber.stages.recipe import Recipe

FEATURES = "features"
SHARE_OF_DISK = 0.5  # of what is free


def remembering(recipe: Recipe, model: Any, processor: Any, out: Path) -> FeatureProcessor | None:
    """The processor that brings kept features, and the model made to take them; None, said in a line, where not.

    Not where the recipe says so, for a family it does not know, where the vision tower learns or the adapter that the
    stage goes on with reaches into it, or where several processes train side by side.
    """
    if not recipe.keep_features:
        return None
    reason = _why_not(recipe, model)
    if reason:
        PartialState().print(f"  pictures go through the vision tower at each step: {reason}", flush=True)
        return None
    out.mkdir(parents=True, exist_ok=True)
    limit = int(SHARE_OF_DISK * shutil.disk_usage(out).free)
    return feature_processor(model, processor, out / FEATURES, limit)


def _why_not(recipe: Recipe, model: Any) -> str | None:
    family = model.config.model_type
    if not is_qwen(model) and (family != "internvl" or model.config.vision_feature_layer != LAST):
        return f"features of {family} cannot be kept"
    if PartialState().num_processes > 1:
        return "several processes train"
    place = _place(model)
    names = [name for name, _ in getattr(vision_holder(model), place).named_modules(prefix=f"model.{place}")]
    if recipe.tuning == "full" or any(re.fullmatch(recipe.lora_target, name) for name in names):
        return "it learns"
    # An adapter of a stage before goes on learning wherever it reaches, whatever this recipe's lora_target says.
    if any(name.endswith((".lora_A", ".modules_to_save")) for name in names):
        return "the adapter changes it"
    return None


def _place(model: Any) -> str:
    """The name of the vision tower."""
    return "visual" if is_qwen(model) else "vision_tower"


def feature_processor(model: Any, processor: Any, folder: Path, limit: int) -> FeatureProcessor:
    """Put a tower that takes kept features into the model, and give the processor that goes with it; `limit` is the
    store's, in bytes."""
    holder, place = vision_holder(model), _place(model)
    tower = getattr(holder, place)
    if not isinstance(tower, FeatureTower | InternVLTower):
        tower = FeatureTower(tower) if is_qwen(model) else InternVLTower(tower)
        setattr(holder, place, tower)
    config = tower.tower.config
    width = config.hidden_size
    if isinstance(tower, FeatureTower):
        width = tower.layers * config.out_hidden_size // tower.spatial_merge_size**2
    store = FeatureStore(folder, maker_of(tower.tower, processor.image_processor), width, tower.dtype, limit)
    return (FeatureProcessor if is_qwen(model) else InternVLFeatures)(processor, tower, store)


def passes(recipe: Recipe, examples: int) -> float:
    """How often each picture is seen."""
    steps = int(recipe.trainer.get("max_steps", -1))
    if steps <= 0:
        return float(recipe.trainer.get("num_train_epochs", 3))
    batch = recipe.trainer.get("per_device_train_batch_size", 8) * recipe.trainer.get("gradient_accumulation_steps", 1)
    return float(steps * batch / examples)


def keep_all(reader: FeatureProcessor, samples: Sequence[Sample], seen: float, max_pixels: int) -> None:
    """Keep the features of all the samples' pictures, and say so; nothing is added to the store afterwards.

    Not where each is `seen` once and none is kept yet, nor where the disk would not hold them.
    """
    store = reader.store
    for start in range(0, len(samples) if seen > 1 or store.places else 0, BATCH):
        pictures = [load_image(sample.image, max_pixels) for sample in samples[start : start + BATCH]]
        if not reader.keep(pictures, [picture_key(picture) for picture in pictures]) or _too_many(reader, len(samples)):
            print(f"  features are not kept: {store.limit / 2**30:.1f} GiB of disk would not hold them", flush=True)
            break
    reader.closed = True
    store.seal()
    if store.places:
        size = f"{store.size / 2**20:.0f} MiB"
        print(f"  one pass through the frozen vision tower for {len(store.places):,} pictures: {size}", flush=True)


def _too_many(reader: FeatureProcessor, pictures: int) -> bool:
    """Whether so many pictures, as large as those kept so far, would not fit by far."""
    store = reader.store
    return store.size / len(store.places) * pictures > 2 * store.limit
