"""`emocaliber ask`, started as a person starts it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emocaliber.chat.model import ModelChoice
from emocaliber.chat.terminal import lines_of, printable
from emocaliber.cli import main
from emocaliber.models.location import QUESTION_FILE, TINY_ADAPTER
from tests.chat.conftest import bomb, noisy_jpeg
from tests.chat.test_answer import read


def ask(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emocaliber", "ask", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def rows(faces: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """Two faces, then a text file, an address, a name with dots and a bomb, in one call that ends with exit code 2."""
    folder = tmp_path_factory.mktemp("rows")
    (folder / "text.png").write_text("no picture")
    (folder / "bomb.png").write_bytes(bomb())
    images = [*faces[:2], folder / "text.png", "http://127.0.0.1:9/x.png", "file:///etc/passwd", folder / "bomb.png"]
    done = ask(*images, "--json")
    assert done.returncode == 2, done.stderr
    assert "4 of 6 pictures have no readable answer" in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_every_picture_has_its_line_in_order(rows: list[dict[str, object]], faces: list[Path]):
    assert [row["picture"] for row in rows[:2]] == [str(face) for face in faces[:2]]
    assert len(rows) == 6


@pytest.mark.slow
def test_answers_hold_label_confidence_alternatives_and_a_sentence(rows: list[dict[str, object]]):
    for row in rows[:2]:
        assert row["state"] == "ok"
        assert row["label"] in row["labels"]  # type: ignore[operator]
        assert sum(row["alternatives"].values()) == pytest.approx(1)  # type: ignore[attr-defined]
        assert f"<confidence>{row['confidence']:.2f}</confidence>" in str(row["text"])
        assert str(row["record"]).startswith("For pictures of kaomoji, ")
        assert "For other pictures it has never been measured." in str(row["record"])


@pytest.mark.slow
def test_what_is_no_picture_is_refused_in_a_sentence(rows: list[dict[str, object]]):
    reasons = [str(row["sentence"]) for row in rows[2:]]
    for reason, words in zip(reasons, ["not a PNG", "never from a URL", "never from a URL", "allowed"], strict=True):
        assert words in reason
    assert not any("root:" in reason for reason in reasons)


MISTYPED = {
    "nope.png": "nope.png: no such file",
    "nope.png nope.jpg {face}": "nope.png: no such file (and 1 more)",
    "{folder}": "this is a folder; for its pictures use",
    "{face} --model tinny": "did you mean tiny",
    "{face} --model {folder}/nowhere": "nowhere: no such folder",
    "{face} --adapter {folder}": "holds no adapter_config.json",
    "{face} --labels joy": "no such taxonomy or task",
    "{face} --labels mikels8": "did you mean mikels-8",
    "{face} --template labl": "there is no template 'labl'",
    "{face} --calibration {folder}/nowhere": "nowhere cannot be read",
    "{face} --calibration {folder}": "no finished stage 3",
    "{face} --server http://127.0.0.1:9": "--server needs --model",
    "{face} --threshold 70": "not a number from 0 to 1",
    "{face} --device gpu": "'gpu' is not a device",
    "{face} --max-new-tokens 0": "not a whole number from 1",
    "{face} --max-pixels big": "not a whole number from 1",
    "{face} --tokenizer {folder}/nowhere": "nowhere: no such folder",
    "{face} --calibration {face}": "give a calibration.json or a prediction file",
    "{face} --adapter {face}": "this is a file; give the folder that holds adapter_config.json",
    "{face} --model {face}": "this is a file; give the folder that holds the model's config.json",
    "{face} --adapter {folder}/adaptr": "did you mean {folder}/adapter",
    "{face} --labels joy,joy": "listed twice",
    "{face} --template self-report-confidence": "a second question",
    "http://127.0.0.1:9/x.png": "never from a URL",
    "{empty}": "the file is empty",
    "{heic}": "save it as JPEG",
}


@pytest.mark.parametrize("line", MISTYPED)
def test_what_people_mistype_is_a_clear_line_before_a_model_is_loaded(
    line: str, faces: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    heic = tmp_path / "photo.heic"
    heic.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    (tmp_path / "empty.png").touch()
    (tmp_path / "adapter").mkdir()
    names = {"face": faces[0], "folder": tmp_path, "heic": heic, "empty": tmp_path / "empty.png"}
    words = [word.format(**names) for word in line.split()]
    monkeypatch.setattr(ModelChoice, "load", lambda _: pytest.fail("a model was loaded"))
    try:
        code: object = main(["ask", *words])
    except SystemExit as stopped:  # argparse's own way
        code = stopped.code
    printed = capfd.readouterr()
    assert code == 2
    assert MISTYPED[line].format(**names) in " ".join((printed.out + printed.err).split())
    assert "Traceback" not in printed.err


@pytest.mark.slow
def test_an_adapter_is_asked_what_it_was_trained_to_be_asked(faces: list[Path], tmp_path: Path):
    """Its labels and its prompt come from its own file; without that file they must be given."""
    adapter = tmp_path / "adapter"
    shutil.copytree(TINY_ADAPTER, adapter)
    done = ask(faces[0], "--adapter", adapter, "--json")
    assert done.returncode == 0, done.stderr
    row, plain = json.loads(done.stdout), json.loads(ask(faces[0], "--json").stdout)
    assert row == plain
    (adapter / QUESTION_FILE).unlink()
    assert "give --model too" in ask(faces[0], "--adapter", adapter).stderr
    assert "give --template and --labels" in ask(faces[0], "--adapter", adapter, "--model", "tiny").stderr


@pytest.mark.slow
def test_nothing_but_the_answer_is_printed_and_a_photograph_is_called_unknown_to_the_tiny_model(tmp_path: Path):
    photograph = tmp_path / "photograph.jpg"
    photograph.write_bytes(noisy_jpeg(200, 150))
    done = ask(photograph, "--labels", "joy, sadness")
    assert "How often it is right about photographs, or anything else, is unknown" in " ".join(done.stdout.split())
    assert "in 10 answers" not in done.stdout
    assert [line for line in done.stderr.splitlines() if not line.startswith(("the tiny model", "emocaliber:"))] == []


def test_terminal_escapes_in_names_and_answers_are_not_printed():
    answer = read("<answer>joy</answer><confidence>0.90</confidence><think>\x1b[2J[red]x[/red]</think>")
    printed = "".join(line.plain for line in lines_of(answer))
    assert "\x1b" not in printed
    assert printable("a\x1b]0;x\x07\u202eb\n") == "a�]0;x��b "


def test_the_bar_is_as_long_as_the_stated_confidence():
    lines = [line.plain for line in lines_of(read("<answer>joy</answer><confidence>0.90</confidence>"))]
    assert lines[1].count("█") == 27
    assert "90\u00a0%" in lines[1]
