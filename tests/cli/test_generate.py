"""Options that do not go together are named in one sentence, before a model is loaded or a file is written."""

from pathlib import Path

import pytest

from emocaliber.cli import main

REFUSED = {
    "--retry-below 0.8": "--retry-below needs --temperature",
    "--samples 5": "--samples needs --temperature",
    "--retry-below 0.8 --samples 5 --temperature 1": "two methods",
    "--retry-below 0.8 --temperature 1 --template label": "states a confidence",
    "--template self-report-confidence": "second question",
    "--template label --then label": "quotes its label",
    "--constrain": "--engine vllm or server",
    "--constrain --engine vllm --template reasoning": "no fixed form",
    "--engine server --data-parallel 2": "several --url",
    "--data-parallel 0": "is a number of",
}


@pytest.mark.parametrize("options", REFUSED)
def test_options_that_do_not_go_together_are_refused(
    options: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["generate", "--data", "kaomoji", "--model", "none", "--out", str(out), *options.split()]) == 2
    assert REFUSED[options] in capsys.readouterr().err
    assert not out.exists()
