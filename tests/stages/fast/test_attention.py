"""Speed patches leave families that they do not know unpatched and report it, or refuse them."""

from __future__ import annotations

import pytest

from emocaliber.core.errors import UserError
from emocaliber.stages.fast.families import refuse_drawing
from emocaliber.stages.fast.packing import use_packing
from emocaliber.stages.fast.prompt_sharing import use_sharing
from tests.stages.families import FAMILIES


@pytest.mark.parametrize("family", ["smolvlm", "internvl", "qwen3.5"])
def test_other_families_do_not_share_questions_and_the_reason_is_printed(
    family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model, _ = FAMILIES[family]()
    before = model.config.text_config._attn_implementation
    assert not use_sharing(model)
    assert model.config.text_config._attn_implementation == before
    assert f"computes its question again: {model.config.model_type} is not among " in capsys.readouterr().out


def test_drawing_is_refused_for_a_family_whose_pictures_would_not_arrive() -> None:
    with pytest.raises(UserError, match="GRPO and RLOO do not pass on what minicpmv4_6's vision tower needs"):
        refuse_drawing(FAMILIES["minicpm-v"]()[0].config.model_type)
    refuse_drawing(FAMILIES["qwen3.5"]()[0].config.model_type)


def test_a_family_whose_rows_cannot_be_kept_apart_is_refused_by_name_and_key() -> None:
    model, _ = FAMILIES["gemma-4"]()
    before = model.config.text_config._attn_implementation
    with pytest.raises(UserError, match="packing: rows of gemma4 cannot be kept apart"):
        use_packing(model)
    assert model.config.text_config._attn_implementation == before
