"""A stranger's folder becomes a trained stage-1 adapter and a scorecard, with the README's three commands."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from emocaliber.cli import main
from emocaliber.core.predictions import read_predictions
from emocaliber.data.parquet import read_samples
from tests.data.layout_files import by_class, put

ROOT = Path(__file__).parents[2]


def commands() -> list[list[str]]:
    """What the README's section on one's own pictures says to type."""
    section = (ROOT / "README.md").read_text().partition("## Train on your own pictures")[2].partition("\n## ")[0]
    lines = re.sub(r"\\\n\s*", "", section.partition("```\n")[2].partition("```")[0]).splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("emocaliber ")]


@pytest.mark.slow
def test_three_commands_lead_from_a_folder_to_an_adapter_and_a_scorecard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    by_class(tmp_path / "photos", "happy", "sad", each=10)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.chdir(tmp_path)
    typed = [command for command in commands() if command[:2] != ["data", "check"]]
    assert len(typed) == 3
    for command in typed:
        assert main(command) == 0
    assert (tmp_path / "out/stage-1/adapter/adapter_model.safetensors").exists()
    assert (tmp_path / "out/answers/scorecard.json").exists()
    assert (tmp_path / "out/answers/report.html").exists()
    rows = list(read_predictions(tmp_path / "out/answers/predictions-logprob.jsonl"))
    assert len(rows) == 4
    assert {row.predicted for row in rows} <= {"happy", "sad"}


@pytest.mark.slow
def test_corrupted_copies_are_learned_from_beside_their_originals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    by_class(tmp_path / "photos", "happy", "sad", each=10)
    monkeypatch.chdir(tmp_path)
    recipe, both = str(ROOT / "recipes/tiny/1-label.yaml"), "data=[photos.parquet, corrupted.parquet]"
    assert main(["data", "split", "photos", "--out", "photos.parquet"]) == 0
    assert main(["data", "corrupt", "photos.parquet", "--out", "corrupted.parquet"]) == 0
    assert main(["train", recipe, both, "max_steps=2", "warmup_steps=1", "--out", "out"]) == 0
    taught = sum(row.split == "train" for row in read_samples(tmp_path / "photos.parquet"))
    assert json.loads((tmp_path / "out/done.json").read_text())["result"] == {"examples": 2 * taught}


@pytest.mark.slow
def test_training_stops_at_an_overlap_or_leaves_it_out_and_lists_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for split, each in (("train", 8), ("val", 2), ("test", 2)):
        by_class(tmp_path / "photos" / split, "happy", "sad", each=each)
    for number, path in enumerate(sorted((tmp_path / "photos").rglob("*.jpg"))):
        put(path, number)
    leak = tmp_path / "photos/train/sad/leak.jpg"
    leak.write_bytes((tmp_path / "photos/test/sad/0.jpg").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert main(["data", "convert", "photos", "--out", "photos.parquet"]) == 0
    command = ["train", str(ROOT / "recipes/tiny/1-label.yaml"), "data=[photos.parquet]", "max_steps=2"]
    assert main([*command, "--out", "stopped"]) == 2
    assert "emocaliber data split FILE --keep-test" in capsys.readouterr().err
    assert main([*command, "drop_problems=true", "max_dropped=0.01", "--out", "stopped"]) == 2
    assert main([*command, "drop_problems=true", "--out", "out"]) == 0
    (line,) = (tmp_path / "out/dropped.jsonl").read_text().splitlines()
    assert (json.loads(line)["id"], json.loads(line)["kind"]) == ("train/sad/leak.jpg", "same picture in two splits")
    assert json.loads((tmp_path / "out/done.json").read_text())["result"] == {"examples": 16}
