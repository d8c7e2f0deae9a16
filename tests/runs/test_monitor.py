"""`emocaliber monitor`: a state that goes on, batches that count once, exit codes for cron, errors that help."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emocaliber.cli.main import main
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, Source, State, write_predictions
from emocaliber.runs.monitor import monitor_files


def _file(path: Path, n: int, seed: int, *, fear: float = 0.2, labelled: bool = True) -> Path:
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        label, sure = ("fear" if rng.random() < fear else "joy"), float(rng.choice([0.6, 0.8, 0.9]))
        truth = label if rng.random() < sure else "anger"
        rows.append(
            Prediction(
                f"{path.stem}/{number}", "faces", "", f"{path.stem}/{number}", truth if labelled else None, label, sure,
                State.OK, Source.VERBALIZED, "model",
            )
        )  # fmt: skip
    write_predictions(path, rows)
    return path


def test_week_after_week_by_command_with_the_exit_code_of_an_alarm(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    reference = str(_file(tmp_path / "reference.jsonl", 600, 0))
    state = str(tmp_path / "state" / "monitor.json")
    quiet = str(_file(tmp_path / "week-1.jsonl", 150, 1, labelled=False))
    assert main(["monitor", quiet, "--reference", reference, "--state", state]) == 0
    assert "No alarm" in capsys.readouterr().out
    loud = str(_file(tmp_path / "week-2.jsonl", 300, 2, fear=0.6))
    assert main(["monitor", loud, "--state", state, "--json", "--page"]) == 3
    result = json.loads(capsys.readouterr().out)
    assert result["alarm"] is True
    assert result["streams"]["labels"]["alarm"]["since"] == pytest.approx(151, abs=100)
    assert result["streams"]["labels"]["rows"] == 450
    assert result["streams"]["accuracy"]["rows"] == 300
    assert result["batch"]["labels"]["fear"] > 0.5 > result["reference"]["labels"]["fear"]
    assert "Evidence over time" in (tmp_path / "state" / "monitor.html").read_text()
    before = Path(state).read_bytes()
    assert main(["monitor", loud, "--state", state, "--reference", reference]) == 3
    assert "0 new rows; 300 belong to units that were counted before" in capsys.readouterr().out.replace("\n", " ")
    assert Path(state).read_bytes() == before


def test_batches_of_any_size_lead_to_the_same_state(tmp_path: Path):
    reference = _file(tmp_path / "reference.jsonl", 300, 0)
    whole = _file(tmp_path / "week.jsonl", 230, 1)
    lines = whole.read_bytes().splitlines(keepends=True)
    at_once = monitor_files(whole, reference, tmp_path / "once.json").monitor
    for first in range(0, 230, 70):
        part = tmp_path / f"part-{first}.jsonl"
        part.write_bytes(b"".join(lines[first : first + 70]))
        split = monitor_files(part, reference, tmp_path / "split.json").monitor
    for name, stream in at_once.streams.items():
        other = split.streams[name]
        assert (stream.rows, stream.pool.tolist()) == (other.rows, other.pool.tolist())
        assert stream.evidence[-1] == pytest.approx(other.evidence[-1])


def test_a_table_without_labels_or_with_what_was_right_will_do(tmp_path: Path):
    table = tmp_path / "week.csv"
    table.write_text("id,confidence,correct\n" + "".join(f"{n},0.{5 + n % 5},{n % 2}\n" for n in range(90)))
    bare = tmp_path / "next.csv"
    bare.write_text("id,confidence\n" + "".join(f"n{n},0.{5 + n % 5}\n" for n in range(90)))
    monitor_files(table, table, tmp_path / "state.json")
    done = monitor_files(bare, None, tmp_path / "state.json")
    assert done.new == 90
    assert done.monitor.streams["accuracy"].rows == 90
    assert done.monitor.names == ["any"]
    assert done.reference.accuracy == 0.5


def test_mistakes_are_named_and_leave_the_state_as_it_was(tmp_path: Path):
    reference, week = _file(tmp_path / "reference.jsonl", 200, 0), _file(tmp_path / "week.jsonl", 60, 1)
    state = tmp_path / "state.json"
    with pytest.raises(UserError, match="give labelled predictions as --reference"):
        monitor_files(week, None, state)
    with pytest.raises(UserError, match=r"reference.jsonl: alpha is 5; give the probability"):
        monitor_files(week, reference, state, alpha=5)
    assert not state.exists()
    monitor_files(week, reference, state)
    before = state.read_bytes()
    with pytest.raises(UserError, match=r"was created with the reference .*reference.jsonl"):
        monitor_files(week, week, state)
    with pytest.raises(UserError, match=r"was created with --alpha 0.05"):
        monitor_files(week, reference, state, alpha=0.01)
    numbered = tmp_path / "numbered.csv"
    numbered.write_text("confidence,correct\n0.5,1\n")
    with pytest.raises(UserError, match=r"numbered.csv has no id column"):
        monitor_files(numbered, reference, state)
    assert state.read_bytes() == before
    state.write_text('{"schema": 1}')
    with pytest.raises(UserError, match=r"is not a state file of `emocaliber monitor`"):
        monitor_files(week, reference, state)
