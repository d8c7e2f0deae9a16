"""`emocaliber ask`, started as a person starts it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from emocaliber.chat.terminal import lines_of, printable
from tests.chat.conftest import bomb
from tests.chat.test_answers import read


def ask(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emocaliber.cli", "ask", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def asked(
    tiny_options: list[str], faces: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, object]]:
    """Two faces, then a text file, an address, a name with dots and a bomb, in one call that ends with exit code 2."""
    folder = tmp_path_factory.mktemp("asked")
    (folder / "text.png").write_text("no picture")
    (folder / "bomb.png").write_bytes(bomb())
    images = [*faces[:2], folder / "text.png", "http://127.0.0.1:9/x.png", "file:///etc/passwd", folder / "bomb.png"]
    done = ask(*images, "--json", *tiny_options)
    assert done.returncode == 2, done.stderr
    assert "4 of 6 pictures have no readable answer" in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_every_picture_has_its_line_in_order(asked: list[dict[str, object]], faces: list[Path]):
    assert [row["picture"] for row in asked[:2]] == [str(face) for face in faces[:2]]
    assert len(asked) == 6


@pytest.mark.slow
def test_answers_hold_label_confidence_alternatives_and_a_sentence(asked: list[dict[str, object]]):
    for row in asked[:2]:
        assert row["state"] == "ok"
        assert row["label"] in row["candidates"]  # type: ignore[operator]
        assert sum(row["alternatives"].values()) == pytest.approx(1)  # type: ignore[attr-defined]
        assert f"<confidence>{row['confidence']:.2f}</confidence>" in str(row["text"])
        assert "in 10 answers like this" in str(row["sentence"]) or "all answers" in str(row["sentence"])


@pytest.mark.slow
def test_what_is_no_picture_is_refused_in_a_sentence(asked: list[dict[str, object]]):
    reasons = [str(row["sentence"]) for row in asked[2:]]
    for reason, words in zip(
        reasons, ["not a PNG", "never from an address", "never from an address", "allowed"], strict=True
    ):
        assert words in reason
    assert not any("root:" in reason for reason in reasons)


@pytest.mark.slow
def test_a_model_that_is_missing_is_one_clear_line(faces: list[Path], tmp_path: Path):
    done = ask(faces[0], "--model", tmp_path / "nowhere")
    assert done.returncode == 2
    assert "nowhere" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_terminal_escapes_in_names_and_answers_are_not_printed():
    answer = read("<answer>joy</answer><confidence>0.90</confidence><think>\x1b[2J[red]x[/red]</think>")
    printed = "".join(line.plain for line in lines_of(answer))
    assert "\x1b" not in printed
    assert printable("a\x1b]0;x\x07\u202eb\n") == "a�]0;x��b "


def test_the_bar_is_as_long_as_the_stated_confidence():
    lines = [line.plain for line in lines_of(read("<answer>joy</answer><confidence>0.90</confidence>"))]
    assert lines[1].count("█") == 27
    assert "90\u00a0%" in lines[1]
