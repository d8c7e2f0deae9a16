"""Options that do not go together are named in one sentence, before a model is loaded or a file is written."""

import json
import re
import shutil
from pathlib import Path

import pytest

from emocaliber.chat.model import TINY_ADAPTER
from emocaliber.cli import main
from emocaliber.core.prompting import load_template
from emocaliber.models.question import FILE, question_of, write_question

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
    "--reasoning-tags <a> <a>": "give what opens reasoning, then what closes it",
}


@pytest.mark.parametrize("options", REFUSED)
def test_options_that_do_not_go_together_are_refused(
    options: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["generate", "--data", "kaomoji", "--model", "none", "--out", str(out), *options.split()]) == 2
    assert REFUSED[options] in capsys.readouterr().err
    assert not out.exists()


def ask(adapter: Path, out: Path, *options: str) -> int:
    data = ["--data", "kaomoji", "--limit", "3", "--model", "tiny", "--adapter", str(adapter)]
    return main(["generate", *data, "--out", str(out), *options])


def test_an_adapter_that_does_not_say_its_question_needs_a_template(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(TINY_ADAPTER, adapter)
    (adapter / FILE).unlink()
    assert ask(adapter, tmp_path / "out") == 2
    assert f"{adapter}: no {FILE} there" in capsys.readouterr().err
    assert not (tmp_path / "out" / "responses.jsonl").exists()


@pytest.mark.slow
def test_an_adapter_is_asked_with_its_own_prompt_and_pixels_unless_the_options_say_otherwise(tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(TINY_ADAPTER, adapter)
    label = load_template("label")
    write_question(adapter, question_of({"t": ("a", "b")}, label, max_pixels=3000, stage="label", base="tiny"))

    def manifest(name: str, *options: str) -> tuple[str, int]:
        assert ask(adapter, tmp_path / name, *options) == 0
        content = json.loads((tmp_path / name / "manifest.json").read_text())
        return content["template"]["name"], content["shown_pixels"]

    assert manifest("own") == ("label", 3000)
    assert manifest("other", "--template", "label-confidence", "--max-pixels", "5000") == ("label-confidence", 5000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("label-confidence", r"Scored: the written answers \(predictions\.jsonl\); \d of 4 are unreadable"),
        (
            "label",
            r"Scored: the token probabilities of the labels \(predictions-logprob\.jsonl\), as template",
        ),
    ],
)
def test_a_scorecard_says_what_it_judged_and_how_many_answers_were_unreadable(
    template: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"generate --data kaomoji --model tiny --template {template} --limit 4 --score --device cpu --out"
    assert main([*words.split(), str(tmp_path / "out")]) == 0
    assert re.search(sentence, capsys.readouterr().out)
