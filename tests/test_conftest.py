"""The rule that continuous integration skips nothing, tried on a small suite of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SKIPPING = {
    "in a test": "import pytest\ndef test_it():\n    pytest.skip('no device')\n",
    "by a fixture": "import pytest\n@pytest.fixture\ndef it():\n    pytest.skip('no device')\ndef test_it(it): ...\n",
    "by a whole module": "import pytest\npytest.skip('no device', allow_module_level=True)\n",
}


def run_suite(folder: Path, source: str, no_skips: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text((Path(__file__).parent / "conftest.py").read_text())
    (folder / "test_it.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    environment = os.environ | {"EMOCALIBER_NO_SKIPS": no_skips}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("source", SKIPPING.values(), ids=SKIPPING.keys())
def test_a_skip_fails_and_says_why_where_no_skips_are_allowed(tmp_path: Path, source: str):
    strict = run_suite(tmp_path, source, "1")
    assert strict.returncode not in (0, 5)
    assert "no device" in strict.stdout
    assert "EMOCALIBER_NO_SKIPS=1" in strict.stdout


@pytest.mark.slow
def test_a_skip_passes_elsewhere(tmp_path: Path):
    assert run_suite(tmp_path, SKIPPING["in a test"], "0").returncode == 0
