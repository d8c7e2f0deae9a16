"""Cross-fitted stage 2: each stage-1 teacher leaves its fold out, and those who left a row out speak for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.data.parquet import read_samples
from emocaliber.stages.clusters import Fold, fold_of, left_out_fold

SHORT = ["max_steps=2", "save_steps=2", "logging_steps=1"]


def result(folder: Path) -> dict[str, object]:
    result: dict[str, object] = json.loads((folder / "done.json").read_text())["result"]
    return result


@pytest.mark.slow
def test_teachers_of_folds_teach_stage_2_and_a_missing_fold_is_told(
    small_recipes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = [row for row in read_samples(small_recipes / "few.parquet") if row.split == "train"]
    adapters = []
    for text in ("1/2", "2/2"):
        out = tmp_path / text.replace("/", "-")
        assert main(["train", str(small_recipes / "1-label.yaml"), f"fold={text}", *SHORT, "--out", str(out)]) == 0
        assert result(out)["examples"] == sum(not fold_of(text).contains(row.cluster) for row in trained)
        adapters.append(out / "adapter")
    assert left_out_fold(adapters[1]) == Fold(2, 2)
    stage_2, start = [str(small_recipes / "2-verbalize.yaml"), *SHORT], ["--adapter", str(adapters[0])]
    both, single = (f"teachers=[{', '.join(map(str, some))}]" for some in (adapters, adapters[:1]))
    assert main(["train", *stage_2, both, *start, "--out", str(tmp_path / "two")]) == 0
    assert result(tmp_path / "two")["examples"] == 48 + 32
    assert main(["train", *stage_2, single, *start, "--out", str(tmp_path / "one")]) == 2
    assert "every teacher was trained on cluster" in capsys.readouterr().err


def test_an_adapter_that_nobody_wrote_about_is_no_teacher(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"inputs\.json should say how"):
        left_out_fold(tmp_path / "adapter")
