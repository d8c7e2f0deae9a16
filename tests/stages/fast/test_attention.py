"""What is made for the Qwen-VL family leaves the others as they are, and says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emocaliber.stages.fast.packing import use_packing
from emocaliber.stages.fast.prompt_sharing import use_sharing
from tests.stages.families import FAMILIES

MADE = {"packing is off": use_packing, "each answer computes its question again": use_sharing}


@pytest.mark.parametrize("family", ["smolvlm", "internvl"])
@pytest.mark.parametrize(("otherwise", "use"), MADE.items())
def test_other_families_are_left_alone_and_it_is_said(
    family: str, otherwise: str, use: Callable[[Any], bool], capsys: pytest.CaptureFixture[str]
) -> None:
    model, _ = FAMILIES[family]()
    before = model.config.text_config._attn_implementation
    assert not use(model)
    assert model.config.text_config._attn_implementation == before
    assert f"{otherwise}: {model.config.model_type} is not of the Qwen-VL family" in capsys.readouterr().out
