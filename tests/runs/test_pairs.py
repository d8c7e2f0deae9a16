"""The verb pairs reads the answers that generate wrote, and leaves a file of pairs and its report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.core.samples import Sample
from emocaliber.generation.engine import Response
from emocaliber.generation.readouts import Record, write_records
from emocaliber.stages.pairs import read_pairs


def record(name: str, text: str, label: str | None = "happy") -> Record:
    sample = Sample(name, b"", "t", ("happy", "sad"), label, "calibrate", "g", name)
    return Record.of(sample, Response(name, text, "stop"), "0" * 16)


def answer(label: str, confidence: float) -> str:
    return f"<answer>{label}</answer><confidence>{confidence:.2f}</confidence>"


def test_the_verb_writes_pairs_and_their_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_records(tmp_path / "responses.jsonl", [record("1", answer("happy", 0.4)), record("2", answer("sad", 0.9))])
    write_records(tmp_path / "responses-1.jsonl", [record("1", answer("happy", 0.9)), record("2", answer("sad", 0.2))])
    out = tmp_path / "made" / "pairs.jsonl"
    assert main(["data", "pairs", str(tmp_path), "--out", str(out)]) == 0
    pairs = {pair["id"]: pair for pair in map(json.loads, out.read_text().splitlines())}
    assert pairs["1"]["chosen"] == answer("happy", 0.9)
    assert pairs["2"]["chosen"] == answer("sad", 0.2)
    report = json.loads((tmp_path / "made" / "pairs.report.json").read_text())
    assert report["pairs"] == {"right": 1, "wrong": 1}
    assert report["reward"] == "brier-1"
    assert "1 pairs about right answers: 0.90 chosen over 0.40 stated" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rows", "reward", "sentence"),
    [
        ([record("1", "x", label=None)], "brier-1", "sample 1 has no label"),
        ([record("1", "x")], "bryer", "--reward: 'bryer' is no reward"),
        ([], "brier-1", "no answers"),
    ],
)
def test_a_mistake_is_one_sentence(
    rows: list[Record], reward: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_records(tmp_path / "responses.jsonl", rows)
    assert main(["data", "pairs", str(tmp_path), "--reward", reward, "--out", str(tmp_path / "p.jsonl")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "p.jsonl").exists()


PAIR = {"id": "1", "task": "t", "kind": "right", "chosen": answer("happy", 0.9), "rejected": "x", "margin": 0.5}
ASKED = {("t", "1"): Sample("1", b"", "t", ("happy", "sad"), "happy", "calibrate", "g", "1")}


def test_what_was_written_is_read_again(tmp_path: Path):
    write_records(tmp_path / "responses.jsonl", [record("1", answer("happy", 0.4)), record("1", answer("happy", 0.9))])
    assert main(["data", "pairs", str(tmp_path), "--out", str(tmp_path / "pairs.jsonl")]) == 0
    (pair,) = read_pairs(tmp_path / "pairs.jsonl", ASKED)
    assert (pair.key, pair.chosen, pair.rejected) == (("t", "1"), answer("happy", 0.9), answer("happy", 0.4))


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([PAIR, PAIR | {"id": "2"}], "line 2: '2' of task 't' is no row of the recipe's data and splits"),
        ([PAIR | {"margin": -1.0}], "line 1"),
        ([PAIR | {"kind": "sure"}], "line 1"),
        ([], "no preference pairs"),
    ],
)
def test_a_file_of_pairs_is_read_strictly(lines: list[dict[str, object]], sentence: str, tmp_path: Path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(UserError, match=sentence):
        read_pairs(path, ASKED)
