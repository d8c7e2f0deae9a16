"""A checkpoint counts when every process has written its part; pictures are as large as the recipe says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emocaliber.core.images import SHOWN_PIXELS
from emocaliber.core.prompting import load_template
from emocaliber.core.samples import Sample
from emocaliber.stages.calibrate.draws import question_dataset
from emocaliber.stages.calibrate.reinforcement import rollout_engine
from emocaliber.stages.examples import TrainingExample, as_dataset
from emocaliber.stages.recipe import load_recipe
from emocaliber.stages.supervised import trainer_keys
from emocaliber.stages.training import COMPLETE, newest_checkpoint
from tests.core.test_images import encoded

RECIPE = Path(__file__).parents[2] / "recipes" / "qwen3-vl-4b" / "1-label.yaml"
LARGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype=np.uint8))


def test_a_checkpoint_that_lacks_the_files_of_a_process_is_not_resumed_from(tmp_path: Path) -> None:
    for step, files in ((10, [COMPLETE, "trainer_state.json"]), (20, ["trainer_state.json", "rng_state_0.pth"])):
        for file in files:
            path = tmp_path / f"checkpoint-{step}" / file
            path.parent.mkdir(exist_ok=True)
            path.write_text("{}")
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


@pytest.mark.parametrize("pixels", [SHOWN_PIXELS, 589_824, 200_000])
def test_pictures_are_shown_as_large_as_the_recipe_says_above_the_default_too(pixels: int) -> None:
    recipe = load_recipe(RECIPE, trainer_keys(), [f"max_pixels={pixels}"])
    sample = Sample("1", encoded(LARGE), "t", ("happy", "sad"), "happy", "train", "g", "1")
    template = load_template("label")
    for rows in (
        as_dataset([TrainingExample(sample, "x")], template, recipe.shown_pixels),
        question_dataset([TrainingExample(sample, "x")], template, recipe.shown_pixels),
    ):
        width, height = rows[0]["images"][0].size
        assert 0.99 * pixels < width * height <= pixels


def test_where_the_recipe_says_nothing_the_default_is_shown() -> None:
    assert load_recipe(RECIPE, trainer_keys(), ["max_pixels=null"]).shown_pixels == SHOWN_PIXELS


def test_the_rollouts_engine_sees_pictures_as_the_trainer_does() -> None:
    vllm_generation = pytest.importorskip("trl.generation.vllm_generation")
    if not hasattr(vllm_generation, "LLM"):
        pytest.skip("vLLM is not installed")
    plain = vllm_generation.LLM
    path = RECIPE.with_name("3-calibrate-grpo.yaml")
    keys = trainer_keys() | {"num_generations", "max_completion_length", "beta", "temperature", "loss_type", "use_vllm",
                             "vllm_mode", "vllm_gpu_memory_utilization", "vllm_max_model_length"}  # fmt: skip
    with rollout_engine(load_recipe(path, keys)):
        assert vllm_generation.LLM.func is plain
        assert vllm_generation.LLM.keywords["mm_processor_kwargs"] == {"max_pixels": 589_824}
        assert vllm_generation.LLM.keywords["limit_mm_per_prompt"] == {"image": 1, "video": 0}
    assert vllm_generation.LLM is plain
    with rollout_engine(load_recipe(path, keys, ["use_vllm=false"])):
        assert vllm_generation.LLM is plain
