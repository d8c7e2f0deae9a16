"""Rationales from ratings say what the raters said, in five steps, and are read back as rationales."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from emocaliber.cli import main as emocaliber
from emocaliber.core.errors import UserError
from emocaliber.data.parquet import read_samples
from emocaliber.reading import STEPS, read_response, reasoning_steps
from scripts.template_rationales import main, rationale, read_ratings
from tests.data import layout_files as files


def test_the_steps_say_valence_arousal_and_shares() -> None:
    steps = reasoning_steps(rationale((2.4, 5.2), {"fear": 3, "sadness": 20, "joy": 0}))
    assert tuple(steps) == STEPS
    assert steps["element"] == "It is very unpleasant."
    assert steps["context"] == "Viewers are stirred."
    assert steps["interaction"] == "Nearly all feel sadness, few fear."
    assert steps["analysis"] == "Sadness fits best."
    close = reasoning_steps(rationale((8.0, 7.0), {"joy": 8, "surprise": 7}))
    assert close["analysis"] == "Joy fits, surprise nearly."
    answer = f"<think>{rationale((5, 5), {'joy': 1})}</think><answer>joy</answer>"
    assert read_response(answer, ("joy", "fear")).label == "joy"


def test_rows_of_emotion6_get_their_rationales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = files.emotion6(tmp_path)
    data, out = tmp_path / "data.parquet", tmp_path / "reasoned.parquet"
    assert emocaliber(["data", "convert", str(folder), "--out", str(data)]) == 0
    command = [
        "template_rationales",
        str(folder / "ground_truth.txt"),
        str(data),
        "--limit",
        "train=1",
        "--out",
        str(out),
    ]
    monkeypatch.setattr(sys, "argv", command)
    main()
    (sample,) = read_samples(out)
    assert (sample.id, sample.label) == ("disgust/0.jpg", "disgust")
    assert "<interaction>Most feel disgust, few anger.</interaction>" in str(sample.rationale)
    (tmp_path / "broken.txt").write_text("header\ndisgust/0.jpg\tcalm\n")
    with pytest.raises(UserError, match=r"broken\.txt, line 2: .* holds no name, valence and arousal"):
        read_ratings(tmp_path / "broken.txt")
