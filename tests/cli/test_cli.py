"""The command line, started as a person starts it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

import emocaliber
from emocaliber.cli import main
from emocaliber.cli.main import GROUPS


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emocaliber", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh Python has loaded after one statement."""
    code = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


HEAVY = {"torch", "transformers", "trl", "vllm", "datasets", "sklearn", "matplotlib"}


def test_importing_the_package_loads_no_other_library():
    assert not loaded_by("import emocaliber") & (HEAVY | {"numpy", "pyarrow", "PIL"})


def test_help_loads_no_heavy_library():
    assert not loaded_by("from emocaliber.cli.main import build_parser; build_parser()") & HEAVY


def test_a_server_is_asked_without_any_heavy_library():
    assert not loaded_by("import emocaliber.runs.predict, emocaliber.generation.server_engine") & HEAVY


def test_a_package_that_is_missing_is_named_with_the_extra_that_brings_it():
    without = "import sys; sys.modules['torch'] = None\n"
    code = f"{without}from emocaliber.cli import main; sys.exit(main(['predict', 'kaomoji', '--limit', '1']))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert answer.stderr.splitlines()[-1].endswith("torch, which is not installed: pip install 'emocaliber[train]'")


def test_a_torchvision_of_another_torch_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def imported(*_: Any) -> NoReturn:
        try:
            raise RuntimeError("operator torchvision::nms does not exist")
        except RuntimeError as error:
            raise ModuleNotFoundError("Could not import module 'PreTrainedModel'.") from error

    monkeypatch.setattr(sys.modules["emocaliber.cli.main"], "_claimed", imported)
    assert main(["env"]) == 2
    assert "another torch" in capsys.readouterr().err


def test_help_names_at_most_fourteen_commands_in_groups_each_with_a_sentence():
    answer = run("--help")
    assert answer.returncode == 0
    commands = [command for group in GROUPS.values() for command in group]
    assert len(commands) <= 14
    for command in commands:
        assert re.search(rf"^  {command} +[A-Z].+\.$", answer.stdout, re.MULTILINE), command
    assert "bug report" in answer.stdout


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("emocaliber re", {"recipe", "recalibrate", "review"}),
        ("emocaliber predict --eng", {"--engine"}),
        ("emocaliber predict --engine v", {"vllm"}),
        ("emocaliber data sp", {"split"}),
        ("emocaliber score --calibration my", {"my answers.csv"}),
    ],
)
def test_tab_completes_commands_options_choices_and_files(tmp_path: Path, line: str, expected: set[str]):
    (tmp_path / "my answers.csv").touch()
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
    told = {"_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_SHELL": "zsh", "_ARGCOMPLETE_STDOUT_FILENAME": "answer"}
    environment = os.environ | asked | told
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    code = "import sys; sys.argv[1:] = []; from emocaliber.cli import main; main()"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    answered = (tmp_path / "answer").read_text().splitlines()
    assert {answer.partition(":")[0].replace("\\", "").strip() for answer in answered} == expected


def test_version_is_the_package_version(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"emocaliber {emocaliber.__version__}\n"


def test_an_unknown_command_ends_with_exit_code_2():
    answer = run("dance")
    assert answer.returncode == 2
    assert "dance" in answer.stderr


def test_bad_input_is_one_line_on_stderr_and_exit_code_2():
    answer = run("score", "nowhere/predictions.jsonl")
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr.startswith("emocaliber: nowhere/predictions.jsonl")
    assert answer.stderr.count("\n") == 1


@pytest.mark.slow
def test_env_prints_the_versions_and_devices_a_bug_report_needs():
    answer = run("env")
    assert answer.returncode == 0
    printed = {line[:24].strip(): line[24:] for line in answer.stdout.splitlines()}
    assert printed["python"].startswith(".".join(map(str, sys.version_info[:3])))
    assert printed["emocaliber"] == emocaliber.__version__
    assert {"torch", "transformers", "cpu cores usable", "system"} <= set(printed)
