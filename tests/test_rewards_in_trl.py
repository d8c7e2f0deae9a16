"""The README's example of TRL's own GRPOTrainer with our reward runs as printed, with a small model for few steps."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path

import pytest

from emocaliber.data.embedded import FILES
from emocaliber.models.location import TINY_ADAPTER, embedded_base

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_the_readmes_example_pays_readable_answers_by_their_confidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its model is replaced by the tiny one, merged with its adapter, and the number of steps by four, on the CPU."""
    [example] = [
        block for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL) if "GRPOTrainer" in block
    ]
    example = example.replace("Qwen/Qwen2.5-VL-3B-Instruct", str(_merged(tmp_path / "model")))
    example, replaced = re.subn(r"max_steps=\d+", "max_steps=4, logging_steps=1, use_cpu=True, bf16=False", example)
    assert replaced == 1
    (tmp_path / "out").mkdir()
    shutil.copyfile(FILES["emoji"], tmp_path / "out" / "photos.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    ran: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), ran)
    steps = [entry for entry in ran["trainer"].state.log_history if "rewards/brier/mean" in entry]  # type: ignore[attr-defined]
    assert len(steps) == 4
    assert all(-1 <= step["rewards/brier/mean"] <= 1 and math.isfinite(step["loss"]) for step in steps)
    learned = [step for step in steps if step["rewards/brier/std"] > 0]
    assert learned, "no answer of the four groups was read"
    assert all(step["grad_norm"] > 0 for step in learned)


def _merged(folder: Path) -> Path:
    """The embedded model that states confidences, as one folder."""
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText, AutoProcessor

    base = AutoModelForImageTextToText.from_pretrained(embedded_base())
    PeftModel.from_pretrained(base, TINY_ADAPTER).merge_and_unload().save_pretrained(folder)
    AutoProcessor.from_pretrained(embedded_base()).save_pretrained(folder)
    return folder
