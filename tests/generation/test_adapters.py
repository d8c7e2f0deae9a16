"""An adapter that is served changes the output; one that would be ignored is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLForConditionalGeneration

from emocaliber.core.errors import UserError
from emocaliber.generation.adapters import (
    PROBED,
    beyond_language_model,
    check_alive,
    probes,
    projector_weights,
    refuse_beyond_language_model,
    refuse_learned_projector,
    vision_weights,
)
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.models.loading import WEIGHTS
from emocaliber.models.projectors import learned_projectors, projectors


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


def test_weights_on_tower_and_projector_are_named(live_adapter: Path, vision_adapter: Path, tmp_path: Path) -> None:
    assert vision_weights(live_adapter) == beyond_language_model(live_adapter) == []
    assert all("visual" in name for name in beyond_language_model(vision_adapter))
    assert any("visual.merger" in name for name in beyond_language_model(vision_adapter))
    with pytest.raises(UserError, match=r"no adapter_config\.json"):
        vision_weights(tmp_path)


def test_lora_on_the_tower_is_refused_where_vllms_class_of_the_model_takes_none(vision_adapter: Path) -> None:
    serving = type("Serving", (), {"supports_tower_connector_lora": True})
    refuse_beyond_language_model(vision_adapter, serving)
    with pytest.raises(UserError, match=rf"vLLM's NotServing applies no adapter; .*export {vision_adapter.parent} --m"):
        refuse_beyond_language_model(vision_adapter, type("NotServing", (), {}))


@pytest.fixture
def projector_adapter(random_model: Path, tmp_path: Path) -> Callable[[float], Path]:
    """An adapter whose LoRA does nothing, and whose projector is the base's with noise of this scale."""

    def save(scale: float) -> Path:
        torch.manual_seed(0)
        base = Qwen2_5_VLForConditionalGeneration.from_pretrained(random_model)
        config = LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=projectors(base), task_type="CAUSAL_LM")
        adapted = get_peft_model(base, config)
        for wrapper in learned_projectors(adapted):
            for weight in wrapper.modules_to_save.parameters():
                weight.data += scale * torch.randn_like(weight)
        adapted.save_pretrained(tmp_path / "projector")
        return tmp_path / "projector"

    return save


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_projector_that_learned_is_served_with_the_adapter(
    random_model: Path, projector_adapter: Callable[[float], Path], dtype: torch.dtype
) -> None:
    base, engine = (
        TransformersEngine(random_model, adapter=adapter, dtype=dtype) for adapter in (None, projector_adapter(0.1))
    )
    scores = [each.score_continuations(probes(), "", PROBED) for each in (base, engine)]
    assert np.abs(scores[0] - scores[1]).max() > 1e-3


def test_a_projector_that_learned_nothing_is_dead(
    random_model: Path, projector_adapter: Callable[[float], Path]
) -> None:
    with pytest.raises(UserError, match="changes no answer"):
        TransformersEngine(random_model, adapter=projector_adapter(0.0))


def test_a_projector_that_learned_is_refused_for_vllm_with_the_command_that_merges_it(
    projector_adapter: Callable[[float], Path], vision_adapter: Path
) -> None:
    adapter = projector_adapter(0.1)
    assert projector_weights(adapter)
    assert beyond_language_model(adapter) == []
    with pytest.raises(UserError, match=rf"`emocaliber export {adapter.parent} --merge --out DIR`"):
        refuse_learned_projector(adapter)
    refuse_learned_projector(vision_adapter)


def test_the_transformers_engine_serves_a_vision_adapter(random_model: Path, vision_adapter: Path) -> None:
    TransformersEngine(random_model, adapter=vision_adapter)


def test_an_adapter_whose_weights_bear_other_names_is_refused_not_served_in_part(
    random_model: Path, vision_adapter: Path, tmp_path: Path
) -> None:
    shutil.copytree(vision_adapter, tmp_path / "renamed")
    file = tmp_path / "renamed" / "adapter_model.safetensors"
    save_file({name.replace("visual.", "visual.tower."): weight for name, weight in load_file(file).items()}, file)
    with pytest.raises(UserError, match=r"do not fit the model, the first without any is .*visual\.blocks"):
        TransformersEngine(random_model, adapter=tmp_path / "renamed")


@pytest.fixture
def changed(live_adapter: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the live adapter with its weights and its configuration changed."""

    def change(weights: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] = dict, **config: object) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(live_adapter, folder)
        save_file(weights(load_file(folder / WEIGHTS)), folder / WEIGHTS)
        settings = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps({**settings, **config}))
        return folder

    return change


def test_an_adapter_that_was_never_trained_is_refused_though_merging_it_rounds(
    random_model: Path, changed: Callable[..., Path]
) -> None:
    untrained = changed(lambda weights: {name: weight * ("lora_B" not in name) for name, weight in weights.items()})
    with pytest.raises(UserError, match="changes no answer"):
        TransformersEngine(random_model, adapter=untrained)
    rounding = np.zeros((4, 3))
    with pytest.raises(UserError, match="changes no answer"):
        check_alive("adapter", rounding, rounding + 2.4e-6)
    check_alive("adapter", rounding, rounding + 1e-3)


@pytest.mark.parametrize("name", ["layers.1.", "layers.40."])
def test_weights_that_fit_nowhere_are_refused(random_model: Path, changed: Callable[..., Path], name: str) -> None:
    def more(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        extra = {each.replace("layers.0.", name).replace("q_proj", "x_proj"): weights[each].clone() for each in weights}
        return {**weights, **{each: extra[each] for each in extra if each not in weights}}

    with pytest.raises(UserError, match=r"of its weights fit nowhere in the model, the first is .*x_proj"):
        TransformersEngine(random_model, adapter=changed(more))


def test_modules_to_save_without_their_weights_are_named(random_model: Path, changed: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match=r"the first without any is .*lm_head"):
        TransformersEngine(random_model, adapter=changed(modules_to_save=["lm_head"]))


def test_weights_that_are_not_finite_are_refused(random_model: Path, changed: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="is not finite; training has diverged"):
        TransformersEngine(
            random_model, adapter=changed(lambda weights: {name: weight * np.nan for name, weight in weights.items()})
        )


def test_every_wrong_path_or_format_is_one_sentence(random_model: Path, changed: Callable[..., Path]) -> None:
    folder = changed()
    for path, message in (
        (folder.parent, r"no adapter_config\.json; did you mean .*changed\?"),
        (folder / "missing", "no such folder"),
        (random_model, "this is a model, not an adapter"),
    ):
        with pytest.raises(UserError, match=message):
            TransformersEngine(random_model, adapter=path)
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")
    with pytest.raises(UserError, match="may run code when it is read: save the adapter anew"):
        TransformersEngine(random_model, adapter=folder)
