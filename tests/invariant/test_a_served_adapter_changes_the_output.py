"""Promise: an adapter that is served changes the output. One that has no effect is an error, not a warning."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from emocaliber.core.errors import UserError
from emocaliber.generation.adapters import PROBED, probes
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.models.location import embedded_base

pytestmark = pytest.mark.slow

BASE = embedded_base()
ADAPTER = BASE.with_name("tiny-adapter")


def with_b(folder: Path, scale: float) -> Path:
    """The tiny adapter with its B matrices multiplied; 0 is what an untrained adapter holds."""
    shutil.copytree(ADAPTER, folder)
    file = folder / "adapter_model.safetensors"
    save_file({name: weight * scale if "lora_B" in name else weight for name, weight in load_file(file).items()}, file)
    return folder


def test_the_adapter_that_comes_along_changes_what_the_model_says():
    scores = [
        TransformersEngine(BASE, adapter=adapter, device="cpu").score_continuations(probes(), "", PROBED)
        for adapter in (None, ADAPTER)
    ]
    assert np.abs(scores[0] - scores[1]).max() > 0.1


def test_an_untrained_adapter_is_refused(tmp_path: Path):
    torch.manual_seed(0)
    with pytest.raises(UserError, match="changes no answer"):
        TransformersEngine(BASE, adapter=with_b(tmp_path / "untrained", 0.0), device="cpu")


def test_weights_that_fit_nowhere_are_refused(tmp_path: Path):
    folder = with_b(tmp_path / "renamed", 1.0)
    file = folder / "adapter_model.safetensors"
    save_file({name.replace("layers.", "other."): weight for name, weight in load_file(file).items()}, file)
    with pytest.raises(UserError, match="fit"):
        TransformersEngine(BASE, adapter=folder, device="cpu")
