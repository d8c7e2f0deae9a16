"""The ninth promise: what this project did not write is never removed or overwritten, by any command, in any folder;
and two commands never write to one `--out` at the same time."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from emocaliber.cli import main
from emocaliber.cli.main import build_parser
from emocaliber.core.outputs import Output, claimed
from emocaliber.core.predictions import write_predictions
from emocaliber.generation.readouts import write_records
from emocaliber.runs.resume import write_json
from tests.data import layout_files
from tests.prediction_rows import predictions
from tests.runs.test_pairs import answer, record

Bytes = dict[str, bytes]

REQUIRED = {
    "train": "recipes/tiny/1-label.yaml data=[emoji] max_steps=1",
    "run": "recipes/tiny",
    "predict": "kaomoji --model tiny --limit 1",
    "data check": "photos",
    "data convert": "photos",
    "data split": "photos",
    "data corrupt": "photos",
    "data pairs": "draws",
    "recalibrate fit": "calibration.jsonl --map beta",
    "recalibrate apply": "map.json predictions.jsonl",
    "recipe rewards": "brier-1",
    "review": "predictions.jsonl",
    "score": "predictions.jsonl",
    "baseline features": "--data kaomoji",
    "baseline train": "softmax --views views.npz",
    "export": "stage",
}
"""Every command that takes --out, with the arguments that it needs beside it."""

FILES = {"thesis.txt": b"ten years of work", "report.html": b"mine", "adapter/notes.md": b"", ".hidden": b"\x00\xff"}


def commands(parser: argparse.ArgumentParser, name: str = "") -> Iterator[str]:
    """The names of all commands below a parser that have an option --out."""
    if any("--out" in action.option_strings for action in parser._actions):
        yield name.strip()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from commands(below, f"{name} {word}")


def contents(folder: Path) -> Bytes:
    """Every file below the folder, byte for byte."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def somebodys(folder: Path) -> Path:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an input of each kind."""
    monkeypatch.chdir(tmp_path)
    write_predictions(tmp_path / "calibration.jsonl", predictions(seed=1))
    write_predictions(tmp_path / "predictions.jsonl", list(predictions("other", n=120))[60:])
    write_records(tmp_path / "draws" / "responses.jsonl", [record("1", answer("happy", 0.4))])
    write_records(tmp_path / "draws" / "responses-1.jsonl", [record("1", answer("happy", 0.9))])
    layout_files.by_class(tmp_path / "photos", "happy", "sad", each=10)
    (tmp_path / "stage").mkdir()
    return tmp_path


def test_every_command_with_an_output_is_listed_here() -> None:
    assert set(commands(build_parser())) == REQUIRED.keys()


@pytest.mark.parametrize("command", REQUIRED)
def test_a_folder_with_somebodys_files_is_as_it_was(
    command: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(somebodys(work / "mydocs"))
    assert main([*command.split(), *REQUIRED[command].split(), "--out", "mydocs"]) == 2
    assert "--out: mydocs" in capsys.readouterr().err
    assert contents(work / "mydocs") == before


@pytest.mark.parametrize("command", REQUIRED)
def test_somebodys_file_is_as_it_was(command: str, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(somebodys(work / "mydocs"))
    assert main([*command.split(), *REQUIRED[command].split(), "--out", "mydocs/thesis.txt"]) == 2
    assert "--out: mydocs/thesis.txt" in capsys.readouterr().err
    assert contents(work / "mydocs") == before


@pytest.mark.parametrize("beside", ["photos.parquet.partial", "photos.parquet.split.json", "photos.parquet.facts/x"])
def test_names_beside_an_output_file_are_somebodys_too(
    beside: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / beside).parent.mkdir(exist_ok=True)
    (work / beside).write_text("mine")
    assert main(["data", "split", "photos", "--out", "photos.parquet", "--workers", "1"]) == 2
    assert beside in capsys.readouterr().err
    assert (work / beside).read_text() == "mine"
    assert not (work / "photos.parquet").exists()


def test_a_run_to_compare_must_be_ours(work: Path) -> None:
    before = contents(somebodys(work / "mydocs"))
    assert main(["compare", "mydocs"]) == 2
    assert contents(work / "mydocs") == before


def test_recipes_are_copied_into_no_folder_that_is_there(work: Path) -> None:
    before = contents(somebodys(work / "mydocs"))
    assert main(["recipe", "cp", "tiny", "mydocs"]) == 2
    assert contents(work / "mydocs") == before


AGAIN = ["data check photos --workers 1", "score predictions.jsonl", "score calibration.jsonl predictions.jsonl"]


@pytest.mark.parametrize("command", AGAIN)
def test_files_of_the_users_in_our_folder_stay_when_the_command_runs_again(command: str, work: Path) -> None:
    assert main([*command.split(), "--out", "out"]) == 0
    mine = contents(somebodys(work / "out" / "mine")) | {"notes.txt": b"look at row 5"}
    (work / "out" / "notes.txt").write_bytes(mine["notes.txt"])
    assert main([*command.split(), "--out", "out"]) == 0
    assert contents(work / "out" / "mine") | {"notes.txt": (work / "out" / "notes.txt").read_bytes()} == mine


def test_a_file_of_the_users_under_a_name_of_ours_is_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two commands share a folder; the user's own report.html lies where the second would write one."""
    assert main(["data", "check", "photos", "--workers", "1", "--out", "out"]) == 0
    (work / "out" / "report.html").write_text("mine")
    assert main(["score", "predictions.jsonl", "--out", "out"]) == 2
    assert "out/report.html was not written by emocaliber" in capsys.readouterr().err
    assert (work / "out" / "report.html").read_text() == "mine"


def test_our_file_with_an_edit_of_the_users_is_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "rewards", "--out", "rewards.html"]) == 0
    page = work / "rewards.html"
    page.write_text(page.read_text() + "<!-- my note -->")
    assert main(["recipe", "rewards", "--out", "rewards.html"]) == 2
    assert "has changed since emocaliber wrote it" in capsys.readouterr().err
    assert page.read_text().endswith("<!-- my note -->")


def test_what_is_replaced_is_announced_with_what_changed(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "rewards", "brier-1", "--out", "rewards.html"]) == 0
    assert main(["recipe", "rewards", "brier-1", "--out", "rewards.html"]) == 0
    assert not capsys.readouterr().err
    assert main(["recipe", "rewards", "log-2", "--out", "rewards.html"]) == 0
    assert "rewards.html will be replaced (names: \"['brier-1']\" is now" in capsys.readouterr().err


def test_a_stage_started_with_other_settings_is_refused_and_stays(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "out").mkdir()
    write_json(work / "out" / "inputs.json", {"recipe": {"seed": 1}})
    (work / "out" / "log.jsonl").write_text("steps")
    before = contents(work / "out")
    command = [*["train", "--out", "out"], "recipes/tiny/1-label.yaml", "data=[emoji]", "max_steps=1"]
    assert main(command) == 2
    assert "holds inputs.json, log.jsonl, not written by emocaliber" in capsys.readouterr().err
    assert contents(work / "out") == before


def test_what_a_killed_command_left_is_ours_and_is_written_anew(work: Path) -> None:
    holder = hold(work / "out")
    (work / "out" / "report.html").write_text("half")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert main(["score", "predictions.jsonl", "--out", "out"]) == 0
    assert (work / "out" / "report.html").read_text() != "half"


def test_the_second_writer_is_told_who_writes_and_a_killed_one_holds_nothing(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    holder = hold(work / "out")
    assert main(["score", "predictions.jsonl", "--out", "out"]) == 2
    message = capsys.readouterr().err
    assert f"`emocaliber score x` (process {holder.pid} on {os.uname().nodename} since 20" in message
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert main(["score", "predictions.jsonl", "--out", "out"]) == 0


def hold(out: Path) -> subprocess.Popen[str]:
    """Another process that writes to `out`, until it is killed."""
    program = f"""
import sys, time
from pathlib import Path
from emocaliber.core.outputs import SCORECARD, Output, claimed
with claimed(Output(Path({str(out)!r}), SCORECARD), "emocaliber score x", {{}}):
    print("ready", flush=True)
    time.sleep(600)
"""
    holder = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "ready\n"
    return holder


def test_a_folder_that_cannot_be_written_to_is_one_sentence(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "file").write_text("mine")
    assert main(["score", "predictions.jsonl", "--out", "file/out"]) == 2
    assert "--out: file/out cannot be written to: Not a directory" in capsys.readouterr().err


def test_a_command_that_wrote_nothing_leaves_nothing(work: Path) -> None:
    assert main(["score", "missing.jsonl", "--out", "out"]) == 2
    assert not (work / "out").exists()
    assert json.dumps(sorted(path.name for path in work.iterdir() if path.name.startswith("."))) == "[]"


def test_a_run_that_is_stopped_before_its_report_is_still_ours(tmp_path: Path) -> None:
    """The steps keep their own books: only the report's names are the run's."""

    def run(seen: list[str]) -> None:
        with claimed(Output(tmp_path / "out", ("report/report.html",), in_steps=True), "run", {"recipes": "tiny"}):
            seen += sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir())
            (tmp_path / "out" / "1-label").mkdir(exist_ok=True)
            raise KeyboardInterrupt

    seen: list[str] = []
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(seen)
    assert seen == ["1-label"]
