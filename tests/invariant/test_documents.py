"""What the documents name is there: paths of the README and CONTRIBUTING, and the commands of the README."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from emocaliber.cli.main import build_parser

ROOT = Path(__file__).parents[2]
PATHS = re.compile(r"`((?:emocaliber|recipes|prompts|eval|scripts|tests)/[\w./-]*)`|\]\(([\w./-]+)\)")
BLOCKS = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_path_that_a_document_names_is_there(document: str):
    text = (ROOT / document).read_text(encoding="utf-8")
    named = {code or link for code, link in PATHS.findall(text)}
    assert len(named) > 5
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


def test_every_command_of_the_readme_is_understood():
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for block in BLOCKS.findall(text) for line in block.splitlines() if line.startswith("emocaliber ")]
    assert len(lines) > 20
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        if "--help" not in words:
            build_parser(words[0]).parse_command(words)
