"""The verb `estimate`: its arguments, and the lines it prints.

emocaliber estimate recipes/qwen2.5-vl-7b/1-label.yaml --rows 86067 --memory 40
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="replaces what the recipe says of a key")
    parser.add_argument("--rows", type=int, default=10_000, help="pictures to learn from (default: 10,000)")
    parser.add_argument("--tflops", type=float, default=312.0, help="the GPU's bf16 peak (default: 312, an A100's)")
    parser.add_argument("--efficiency", type=float, default=0.35, help="share of the peak reached (default: 0.35)")
    parser.add_argument("--gpus", type=int, default=1, help="GPUs that share the rows (default: 1)")
    parser.add_argument("--memory", type=float, help="a GPU's memory in GiB: exit code 2 where the stage does not fit")


def run(arguments: argparse.Namespace) -> None:
    """Print the estimate; raises UserError where it exceeds the memory given."""
    from emocaliber.core.errors import UserError
    from emocaliber.runs.estimate import GIB, estimate
    from emocaliber.runs.recipes import read_recipe

    recipe = read_recipe(arguments.recipe, arguments.overrides)
    found = estimate(recipe)
    epochs = float(recipe.trainer.get("num_train_epochs", 3))
    if (steps := int(recipe.trainer.get("max_steps", -1))) > 0:
        epochs = steps * found.rows_per_step / arguments.rows
    hours = found.hours(arguments.rows, epochs, arguments.tflops, arguments.efficiency) / arguments.gpus
    print(f"{'parameters':<24}{found.parameters:>16,}")
    print(f"{'of which learn':<24}{found.trainable:>16,}")
    print(f"{'tokens of an image':<24}{found.image_tokens:>16,}")
    for name in ("weights", "gradients", "optimiser", "activations"):
        print(f"{name:<24}{getattr(found, name) / GIB:>12.2f} GiB")
    print(f"{'a GPU while training':<24}{found.training_bytes / GIB:>12.2f} GiB, a tenth for the allocator among it")
    if found.asking:
        print(f"{'a GPU while asking':<24}{found.asking / GIB:>12.2f} GiB")
    print(f"{'time':<24}{hours:>14.1f} h for {arguments.rows:,} rows, {epochs:g} times, without the asking")
    need = max(found.training_bytes, found.asking) / GIB
    if arguments.memory is not None and need > arguments.memory:
        raise UserError(
            f"{arguments.recipe}: needs about {need:.0f} GiB and the GPU has {arguments.memory:g}; lower"
            " per_device_train_batch_size, ask_batch_size or max_pixels, or give quantization=nf4"
        )
