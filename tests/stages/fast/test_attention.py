"""What is made for some families leaves the others as they are, and says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emocaliber.stages.fast.packing import use_packing
from emocaliber.stages.fast.prompt_sharing import use_sharing
from tests.stages.families import FAMILIES

SHARING, PACKING = "each answer computes its question again", "packing is off"


@pytest.mark.parametrize(
    ("family", "otherwise", "use"),
    [("smolvlm", SHARING, use_sharing), ("internvl", SHARING, use_sharing), ("elsewhere", PACKING, use_packing)],
)
def test_other_families_are_left_alone_and_it_is_said(
    family: str, otherwise: str, use: Callable[[Any], bool], capsys: pytest.CaptureFixture[str]
) -> None:
    model, _ = FAMILIES["internvl" if family == "elsewhere" else family]()
    if family == "elsewhere":
        model.config.model_type = "elsewhere"
    before = model.config.text_config._attn_implementation
    assert not use(model)
    assert model.config.text_config._attn_implementation == before
    assert f"{otherwise}: {model.config.model_type} is not among " in capsys.readouterr().out
