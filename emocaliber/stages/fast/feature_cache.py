"""Whether a stage keeps the features of a frozen vision tower, so that each picture goes through it once: the recipe
key `keep_features`.

Store, tower and processor are in vision_features. The features are in `OUT/features` while a stage runs, shared by the
teacher that it queries and the model that it trains, and are removed at its end. For a single process only.

    keep_features: false      # in a recipe: pictures go through the tower at every step
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
from emocaliber.stages.fast.internvl_features import LAST_LAYER, InternVLFeatureProcessor, InternVLTower
from emocaliber.stages.fast.vision_features import (
    BATCH,
    FeatureProcessor,
    FeatureStore,
    FeatureTower,
    fingerprint_of,
    picture_key,
)
from emocaliber.stages.recipe import Recipe

FEATURES = "features"
SHARE_OF_DISK = 0.5  # of the free space


def use_kept_features(recipe: Recipe, model: Any, processor: Any, out: Path) -> FeatureProcessor | None:
    """Patch the model to take kept features and return the processor that supplies them.

    None, with the reason printed, for an unknown model family, where the vision tower is trained or an earlier stage's
    adapter changes it, and where several processes train; None without a line where the recipe switches it off.
    """
    if not recipe.keep_features:
        return None
    reason = _obstacle(recipe, model)
    if reason:
        PartialState().print(f"  pictures go through the vision tower at each step: {reason}", flush=True)
        return None
    out.mkdir(parents=True, exist_ok=True)
    limit = int(SHARE_OF_DISK * shutil.disk_usage(out).free)
    return feature_processor(model, processor, out / FEATURES, limit)


def _obstacle(recipe: Recipe, model: Any) -> str | None:
    family = model.config.model_type
    if not is_qwen(model) and (family != "internvl" or model.config.vision_feature_layer != LAST_LAYER):
        return f"features of {family} cannot be kept"
    if PartialState().num_processes > 1:
        return "several processes train"
    tower = _tower_name(model)
    names = [name for name, _ in getattr(vision_holder(model), tower).named_modules(prefix=f"model.{tower}")]
    if recipe.tuning == "full" or any(re.fullmatch(recipe.lora_target, name) for name in names):
        return "it learns"
    # An earlier stage's adapter goes on training wherever it reaches, whatever this recipe's lora_target says.
    if any(name.endswith((".lora_A", ".modules_to_save")) for name in names):
        return "the adapter changes it"
    return None


def _tower_name(model: Any) -> str:
    """The attribute that holds the vision tower."""
    return "visual" if is_qwen(model) else "vision_tower"


def feature_processor(model: Any, processor: Any, folder: Path, limit: int) -> FeatureProcessor:
    """Replace the model's vision tower by one that takes kept features, and return the processor that supplies them
    from a store in `folder` of at most `limit` bytes."""
    holder, name = vision_holder(model), _tower_name(model)
    tower = getattr(holder, name)
    if not isinstance(tower, FeatureTower | InternVLTower):
        tower = FeatureTower(tower) if is_qwen(model) else InternVLTower(tower)
        setattr(holder, name, tower)
    config = tower.tower.config
    width = config.hidden_size
    if isinstance(tower, FeatureTower):
        width = tower.layers * config.out_hidden_size // tower.spatial_merge_size**2
    store = FeatureStore(folder, fingerprint_of(tower.tower, processor.image_processor), width, tower.dtype, limit)
    return (FeatureProcessor if is_qwen(model) else InternVLFeatureProcessor)(processor, tower, store)


def epochs_of(recipe: Recipe, examples: int) -> float:
    """How many times training goes through the examples."""
    steps = int(recipe.trainer.get("max_steps", -1))
    if steps <= 0:
        return float(recipe.trainer.get("num_train_epochs", 3))
    batch = recipe.trainer.get("per_device_train_batch_size", 8) * recipe.trainer.get("gradient_accumulation_steps", 1)
    return float(steps * batch / examples)


def precompute_features(processor: FeatureProcessor, samples: Sequence[Sample], epochs: float, max_pixels: int) -> None:
    """Compute the features of all pictures, print the total, and close the store to additions.

    Nothing is computed for a single epoch with an empty store, since nothing would be saved. Stops with a printed line
    where the features would not fit on the disk.
    """
    store = processor.store
    for start in range(0, len(samples) if epochs > 1 or store.entries else 0, BATCH):
        pictures = [load_image(sample.image, max_pixels) for sample in samples[start : start + BATCH]]
        kept = processor.keep(pictures, [picture_key(picture) for picture in pictures])
        if not kept or _far_too_large(store, len(samples)):
            print(f"  features are not kept: {store.limit / 2**30:.1f} GiB of disk would not hold them", flush=True)
            break
    processor.closed = True
    store.seal()
    if store.entries:
        size = f"{store.size / 2**20:.0f} MiB"
        print(f"  one pass through the frozen vision tower for {len(store.entries):,} pictures: {size}", flush=True)


def _far_too_large(store: FeatureStore, pictures: int) -> bool:
    """Whether this many pictures, of the mean size so far, would need more than twice the store's limit."""
    return store.size / len(store.entries) * pictures > 2 * store.limit
