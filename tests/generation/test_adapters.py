"""An adapter that is served changes the output; one that would be ignored is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from emocaliber.core.errors import UserError
from emocaliber.generation.adapters import PROBED, probes, refuse_vision_weights, vision_weights
from emocaliber.generation.transformers_engine import TransformersEngine


def test_a_live_adapter_changes_the_answers_and_a_dead_one_is_an_error(
    random_model: Path, live_adapter: Path, dead_adapter: Path
) -> None:
    base, adapted = (TransformersEngine(random_model, adapter=adapter) for adapter in (None, live_adapter))
    scores = [engine.score_continuations(probes(), "", PROBED) for engine in (base, adapted)]
    assert np.abs(scores[0] - scores[1]).max() > 1e-3
    assert base.name != adapted.name
    with pytest.raises(UserError, match="changes no answer"):
        TransformersEngine(random_model, adapter=dead_adapter)


def test_merged_and_unmerged_adapters_answer_alike(random_model: Path, live_adapter: Path) -> None:
    merged = TransformersEngine(random_model, adapter=live_adapter)
    beside = TransformersEngine(random_model, adapter=live_adapter, dtype=torch.float64)
    scores = [engine.score_continuations(probes(), "", PROBED) for engine in (merged, beside)]
    assert np.allclose(scores[0], scores[1], atol=1e-3)


def test_vision_weights_are_named_and_refused(live_adapter: Path, vision_adapter: Path, tmp_path: Path) -> None:
    assert vision_weights(live_adapter) == []
    assert all("visual" in name for name in vision_weights(vision_adapter))
    refuse_vision_weights(live_adapter, "vLLM")
    with pytest.raises(UserError, match="merge"):
        refuse_vision_weights(vision_adapter, "vLLM")
    with pytest.raises(UserError, match="no adapter_model"):
        vision_weights(tmp_path)


def test_the_transformers_engine_serves_a_vision_adapter(random_model: Path, vision_adapter: Path) -> None:
    TransformersEngine(random_model, adapter=vision_adapter)


def test_an_adapter_whose_weights_bear_other_names_is_refused_not_served_in_part(
    random_model: Path, vision_adapter: Path, tmp_path: Path
) -> None:
    shutil.copytree(vision_adapter, tmp_path / "renamed")
    file = tmp_path / "renamed" / "adapter_model.safetensors"
    save_file({name.replace("visual.", "visual.tower."): one for name, one in load_file(file).items()}, file)
    with pytest.raises(UserError, match=r"do not fit the model, the first without any is .*visual\.blocks"):
        TransformersEngine(random_model, adapter=tmp_path / "renamed")
