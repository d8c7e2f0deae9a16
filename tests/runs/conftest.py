"""A small copy of the tiny recipes and data, so that the whole road takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from emocaliber.core.predictions import write_predictions
from tests.runs.few_rows import few_rows
from tests.runs.reviews import rows_and_truth

ROWS = {"train": 48, "unlabelled": 32, "calibrate": 32, "test": 24}
STEPS = {"1-label": 40, "2-verbalize": 40, "3-calibrate": 12}
RECIPES = Path(__file__).parents[2] / "recipes" / "tiny"


@pytest.fixture(scope="session")
def small_recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped recipes on a few rows of the shipped kaomoji, a few steps a stage, a checkpoint at each fourth."""
    folder = tmp_path_factory.mktemp("recipes")
    data = few_rows(folder / "few.parquet", ROWS)
    for name, steps in STEPS.items():
        recipe = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
        recipe |= {
            "data": [str(data)],
            "max_steps": steps,
            "save_steps": 4,
            "logging_steps": 1,
            "per_device_train_batch_size": 8,
            "dataloader_num_workers": 0,
        }
        recipe |= {"gain_alpha": 1.0} if name == "3-calibrate" else {}  # eight held-out rows prove no gain
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    return folder


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures of the shipped kaomoji."""
    path = tmp_path_factory.mktemp("data") / "few.parquet"
    return few_rows(path, {"train": 8, "unlabelled": 4, "calibrate": 8})


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny models of each family are kept (see short_runs.model_of)."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """The predictions of tests.runs.reviews, in a file."""
    write_predictions(tmp_path / "answers.jsonl", rows_and_truth()[0])
    return tmp_path / "answers.jsonl"
