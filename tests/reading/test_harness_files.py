"""The files of VLMEvalKit, and what is refused of other harnesses' files: as written, without the tools themselves."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, State
from emocaliber.reading.foreign_outputs import is_table, read_lines
from emocaliber.reading.tables import read_table

HEADER = ["index", "question", "A", "B", "C", "answer", "category", "prediction"]
ROWS: list[list[Any]] = [
    [0, "How does it feel?", "joy", "awe", "fear", "A", "faces", "A"],
    [1, "How does it feel?", "awe", "joy", None, "B", "faces", "B. joy\nConfidence: 80%"],
    [2, "How does it feel?", "joy", "awe", "fear", "C", "art", "<answer>awe</answer><confidence>0.40</confidence>"],
    [3, "How does it feel?", "joy", "awe", "fear", "C", "art", "Failed to obtain answer: timeout"],
    [4, "How does it feel?", "joy", "awe", "fear", "C", "art", None],
]


def excel(path: Path, header: list[str], rows: list[list[Any]]) -> Path:
    book = Workbook()
    for row in (header, *rows):
        book.worksheets[0].append(row)
    book.save(path)
    return path


def delimited(path: Path, header: list[str], rows: list[list[Any]], mark: str) -> Path:
    quoted = [["" if cell is None else str(cell).replace('"', '""') for cell in row] for row in (header, *rows)]
    path.write_text("".join(mark.join(f'"{cell}"' for cell in row) + "\n" for row in quoted))
    return path


def listed(path: Path, header: list[str], rows: list[list[Any]]) -> Path:
    filled = [[math.nan if cell is None else cell for cell in row] for row in rows]  # as pandas writes an empty cell
    path.write_text(json.dumps([dict(zip(header, row, strict=True)) for row in filled], indent=4))
    return path


def results(folder: Path, suffix: str, header: list[str] = HEADER, rows: list[list[Any]] = ROWS) -> Path:
    path = folder / f"Qwen2.5-VL-7B_EmoSet.{suffix}"
    if suffix == "xlsx":
        return excel(path, header, rows)
    return listed(path, header, rows) if suffix == "json" else delimited(path, header, rows, ",\t"[suffix == "tsv"])


@pytest.mark.parametrize("suffix", ["xlsx", "tsv", "csv", "json"])
def test_vlmevalkits_tables_are_read_with_options_letters_and_failures(tmp_path: Path, suffix: str):
    path = results(tmp_path, suffix)
    assert not is_table(path)
    rows = list(read_lines(path))
    assert [(row.id, row.truth, row.predicted, row.confidence, row.state, row.group) for row in rows] == [
        ("0", "joy", "joy", None, State.MISSING_CONFIDENCE, "faces"),
        ("1", "joy", "joy", 0.8, State.OK, "faces"),
        ("2", "fear", "awe", 0.4, State.OK, "art"),
        ("3", "fear", None, None, State.ENGINE_ERROR, "art"),
        ("4", "fear", None, None, State.EMPTY, "art"),
    ]
    assert {row.method for row in rows} == {"Qwen2.5-VL-7B_EmoSet"}


def open_questions(folder: Path, *answers: str, labels: tuple[str, ...] = ()) -> tuple[list[Prediction], list[str]]:
    rows = [
        [n, "How?", answer, "<answer>fear</answer><confidence>0.9</confidence>"] for n, answer in enumerate(answers)
    ]
    path = results(folder, "tsv", ["index", "question", "answer", "prediction"], rows)
    notes: list[str] = []
    return list(read_lines(path, labels=labels, note=notes.append)), notes


def test_without_options_the_labels_are_named_or_the_true_ones_and_that_is_said(tmp_path: Path):
    rows, notes = open_questions(tmp_path, "joy", "awe")
    assert [row.state for row in rows] == [State.UNKNOWN_LABEL] * 2
    assert "the 2 that are true somewhere (joy, awe); or name --labels" in notes[0]
    rows, notes = open_questions(tmp_path, "joy", "awe", labels=("joy", "awe", "fear"))
    assert [row.predicted for row in rows] == ["fear", "fear"]
    assert not notes
    with pytest.raises(UserError, match="line 2: nothing says which labels"):
        open_questions(tmp_path, "joy")
    with pytest.raises(UserError, match="line 3: the true label 'awe' is not among"):
        open_questions(tmp_path, "joy", "awe", labels=("joy", "fear"))


def test_the_command_line_names_the_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    open_questions(tmp_path, "joy", "awe")
    path = str(tmp_path / "Qwen2.5-VL-7B_EmoSet.tsv")
    assert main(["score", path, "--labels", "joy,awe,fear"]) == 0
    assert "0 of 2 answers unusable" in capsys.readouterr().out
    assert main(["score", path, "--labels", "mikels"]) == 2
    assert "--labels: 'mikels' is not a taxonomy" in capsys.readouterr().err


def test_a_persons_own_table_with_these_columns_stays_a_table(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("index,answer,prediction,confidence\n1,joy,joy,0.9\n")
    assert is_table(path)


def test_an_excel_table_is_read_as_its_csv(tmp_path: Path):
    header, rows = ["id", "confidence", "correct"], [["a", 0.9, True], ["b", 0.25, 0], ["c", None, 1]]
    sheet = excel(tmp_path / "answers.xlsx", header, rows)
    assert is_table(sheet)
    assert read_table(sheet).rows == read_table(delimited(tmp_path / "answers.csv", header, rows, ",")).rows
    excel(sheet, header, [["a", 1.5, 1]])
    with pytest.raises(UserError, match=r"answers\.xlsx, row 2: 'confidence' 1\.5 is outside"):
        read_table(sheet)
    excel(sheet, header, [["a", 0.5, 1, "what is this?"]])
    with pytest.raises(UserError, match="row 2: it has 4 fields, the header 3"):
        read_table(sheet)


LINE = {
    "doc_id": 7,
    "doc": {"label": 1, "choices": {"text": ["joy", "awe"], "label": ["A", "B"]}},
    "target": "1",
    "arguments": {"gen_args_0": {"arg_0": "?", "arg_1": {"until": []}}},
    "resps": [["<answer>awe</answer><confidence>0.75</confidence>"]],
    "filtered_resps": ["<answer>awe</answer><confidence>0.75</confidence>"],
    "filter": "none",
}


def samples(folder: Path, *lines: dict[str, Any]) -> Path:
    (folder / "Qwen__Qwen3").mkdir(exist_ok=True)
    path = folder / "Qwen__Qwen3" / "samples_emo_faces_2026-11-30T19-10-26.588315.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_names_of_lm_evals_file_and_folder_are_task_and_model(tmp_path: Path):
    [row] = read_lines(samples(tmp_path, LINE))
    assert (row.id, row.task, row.method) == ("7", "emo_faces", "Qwen__Qwen3")
    assert (row.truth, row.predicted, row.confidence) == ("awe", "awe", 0.75)


def test_filters_of_lm_eval_are_methods(tmp_path: Path):
    rows = list(read_lines(samples(tmp_path, LINE, LINE | {"filter": "strict"})))
    assert [row.method for row in rows] == ["Qwen__Qwen3 (none)", "Qwen__Qwen3 (strict)"]


CHOSEN = LINE | {
    "arguments": {"gen_args_0": {"arg_0": "?", "arg_1": " joy"}, "gen_args_1": {"arg_0": "?", "arg_1": " awe"}},
    "filtered_resps": [["-1.0", "False"], ["-1.0", "True"]],
}


def test_choices_that_lm_eval_likes_alike_are_no_answer(tmp_path: Path):
    [row] = read_lines(samples(tmp_path, CHOSEN))
    assert (row.predicted, row.state) == (None, State.AMBIGUOUS_LABEL)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (LINE | {"target": ["joy", "awe"]}, r"line 1: 'target' is \['joy', 'awe'\]; one true label is needed"),
        (LINE | {"target": "fear"}, "line 1: the true label 'fear' is not among"),
        (LINE | {"doc": {}, "target": "joy"}, "line 1: nothing says which labels"),
        (CHOSEN | {"target": "5"}, "line 1: the true label '5'"),
        (CHOSEN | {"filtered_resps": [["x", "y"], ["-1", "False"]]}, "no log-likelihood"),
        (CHOSEN | {"arguments": {f"gen_args_{n}": {"arg_0": f"{n}", "arg_1": " x"} for n in range(2)}}, "no names"),
    ],
)
def test_lines_of_lm_eval_that_cannot_be_scored_say_why(tmp_path: Path, changed: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        list(read_lines(samples(tmp_path, changed)))
