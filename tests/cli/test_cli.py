"""The command line, started as a person starts it."""

from __future__ import annotations

import re
import subprocess
import sys

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


def test_help_names_at_most_fourteen_commands_in_groups_each_with_a_sentence():
    answer = run("--help")
    assert answer.returncode == 0
    commands = [command for group in GROUPS.values() for command in group]
    assert len(commands) <= 14
    for command in commands:
        assert re.search(rf"^  {command} +[A-Z].+\.$", answer.stdout, re.MULTILINE), command
    assert "bug report" in answer.stdout


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
