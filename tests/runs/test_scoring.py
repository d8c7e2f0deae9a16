"""Scoring files through the command, down to the numbers in the files that it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.core.prediction_files import write_rows
from emocaliber.core.predictions import Prediction, write_predictions
from emocaliber.data.parquet import read_samples
from emocaliber.generation.engine import Response
from emocaliber.generation.readouts import Record, consistency_rows, read_records, write_records
from emocaliber.runs.scoring import read_methods, score_files
from tests.data.layout_files import ferplus_twins
from tests.prediction_rows import predictions

EVAL = Path(__file__).parents[2] / "eval"


def _write(path: Path, rows: list[Prediction]) -> Path:
    write_predictions(path, rows)
    return path


def test_the_command_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    test = _write(tmp_path / "test.jsonl", predictions(refuse=0.1))
    held = _write(tmp_path / "held.jsonl", predictions("named otherwise", seed=4))
    assert main(["score", str(test), "--calibration", str(held), "--out", str(tmp_path / "out")]) == 0
    card = json.loads((tmp_path / "out" / "scorecard.json").read_text())
    text = (tmp_path / "out" / "scorecard.md").read_text()
    brier = card["methods"][0]["scores"][0]["headline"]["brier"]["value"]
    assert f"{brier:.3f}" in text
    assert f"{brier:.3f}".lstrip("0") in capsys.readouterr().out
    assert "constant per task" in text
    assert "Answered rows only" in text
    assert card["methods"][0]["scores"][0]["trusted"][0]["chosen_on"] == "calibration"


def test_several_files_are_compared(tmp_path: Path):
    paths = [_write(tmp_path / f"{name}.jsonl", predictions(name, seed=seed)) for seed, name in enumerate("ab")]
    card = score_files(paths, replicates=50, out=tmp_path)
    assert ("a", "b") in {(comparison.first, comparison.second) for comparison in card.comparisons}
    assert "First minus second" in (tmp_path / "scorecard.md").read_text()


def test_a_threshold_chosen_on_the_test_rows_is_marked_in_every_output(tmp_path: Path):
    path = _write(tmp_path / "a.jsonl", predictions())
    card = score_files([path], threshold_on_test=True, replicates=50, out=tmp_path)
    assert {trusted.chosen_on for method in card.methods for scores in method.scores for trusted in scores.trusted} <= {
        "test"
    }
    assert "the test rows (oracle)" in (tmp_path / "scorecard.md").read_text()
    assert "flatters" in (tmp_path / "scorecard.md").read_text()


def test_a_stranger_judges_a_csv_in_one_command(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("confidence,correct\n" + "1.0,0\n" * 20)
    scores = score_files([path], replicates=50).method("mine").find("all")
    assert (scores.headline["ece"].value, scores.headline["accuracy"].value) == (1.0, 0.0)
    assert "weighted_f1" not in scores.headline


def test_emocalibers_merged_output_is_judged_by_the_papers_groups(tmp_path: Path):
    candidates = ["anger", "fear", "joy", "love", "sadness", "surprise"]
    answers = [(label, label if number % 3 else "joy") for number, label in enumerate(candidates * 5)]
    lines = [
        {
            "response": f"<think>x</think><answer>{said}</answer><confidence>0.7</confidence>",
            "ground_truth": label,
            "candidates": candidates,
            "task": "UnbiasedEmo-6",
        }
        for label, said in answers
    ]
    path = tmp_path / "merged.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    card = score_files(
        [path],
        suite=EVAL / "suites" / "vecbench.yaml",
        references=[EVAL / "reference" / "emocaliber.yaml"],
        replicates=50,
        out=tmp_path,
    )
    right = sum(label == said for label, said in answers) / len(answers)
    assert card.method("merged").find("group", "OOD VER").headline["accuracy"].value == pytest.approx(right)
    assert "merged: task UnbiasedEmo-6 has 30 rows, but 1000 in the suite" in card.notes
    assert "0.7990" in (tmp_path / "scorecard.md").read_text()


def test_a_method_in_two_files_is_named_after_both(tmp_path: Path):
    paths = [_write(tmp_path / run / "predictions.jsonl", predictions()) for run in ("one", "two")]
    assert list(read_methods(paths)) == ["model", "model [two/predictions]"]
    with pytest.raises(UserError, match="give each file once"):
        read_methods([paths[1], paths[0], paths[0]])


def test_calibration_rows_of_another_method_are_an_error(tmp_path: Path):
    tests = [_write(tmp_path / f"{name}.jsonl", predictions(name)) for name in "ab"]
    held = _write(tmp_path / "c.jsonl", predictions("c"))
    with pytest.raises(UserError, match=r"the calibration rows are of \['c'\]"):
        score_files(tests, calibration=[held])


def test_bad_input_ends_the_command_with_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "empty.jsonl"
    path.write_text("")
    assert main(["score", str(path)]) == 2
    assert "empty.jsonl is empty" in capsys.readouterr().err.replace("\n", "")
    _write(path, [replace(predictions(n=1)[0], task="unknown")])
    assert main(["score", str(path), "--suite", str(EVAL / "suites" / "tiny.yaml")]) == 2


def test_a_table_of_any_dialect_is_judged_and_what_was_read_as_what_is_noted(tmp_path: Path):
    path = tmp_path / "mine.tsv"
    path.write_text("model_confidence\tis_correct\tdataset\n" + "100%\tFalse\tfaces\n" * 20)
    card = score_files([path], replicates=50, out=tmp_path)
    assert card.method("mine").find("task", "faces").headline["ece"].value == 1.0
    assert card.notes[0].startswith("mine.tsv: column 'model_confidence' is the confidence")
    assert card.notes[0] in (tmp_path / "scorecard.md").read_text().replace("\\", "")


def test_two_tables_without_ids_must_be_of_the_same_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    test, held = tmp_path / "test.csv", tmp_path / "cal.csv"
    test.write_text("confidence,correct\n" + "0.9,1\n0.2,0\n" * 20)
    held.write_text("confidence,correct\n" + "0.9,1\n0.2,0\n" * 30)
    assert main(["score", str(test), str(held)]) == 2
    refusal = capsys.readouterr().err
    assert "not of the same samples (40 and 60 rows" in refusal
    assert f"give it as --calibration {held}" in refusal
    assert score_files([test], calibration=[held], replicates=20).method("test").find("all").n == 40
    card = score_files([test, _copy(test, tmp_path / "other.csv")], replicates=20)
    assert any({comparison.first, comparison.second} == {"test", "other"} for comparison in card.comparisons)


def _copy(source: Path, target: Path) -> Path:
    target.write_bytes(source.read_bytes())
    return target


def test_columns_are_named_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "mine.csv"
    path.write_text("Sureness,Verdict\n" + "90,1\n40,0\n" * 20)
    named = ["--confidence-column", "sureness", "--correct-column", "verdict"]
    assert main(["score", str(path), *named]) == 2
    assert "add --percent" in capsys.readouterr().err
    assert main(["score", str(path), *named, "--percent"]) == 0


def test_a_second_panel_goes_from_the_pictures_to_the_scorecard(tmp_path: Path):
    out = tmp_path / "o.parquet"
    assert main(["data", "convert", str(ferplus_twins(tmp_path / "f")), "--two-panels", "--out", str(out)]) == 0
    samples = read_samples(out)
    records = [Record.of(sample, Response(sample.id, "<answer>neutral</answer>", "stop"), "t") for sample in samples]
    write_records(tmp_path / "records.jsonl", records)
    path = _write(tmp_path / "p.jsonl", list(consistency_rows([read_records(tmp_path / "records.jsonl")], "model")))
    card = score_files([path], replicates=50)
    assert card["second_panel_accuracy"].value == 1.0
    assert card["second_panel_agreement"].value == 0.8
    human = card.method("human: the first panel").find("all")
    assert human["second_panel_brier"].value == pytest.approx(0.4**2)
    assert (human.n, human["second_panel_agreement"].value) == (1, 0.8)


def test_a_folder_of_parquet_parts_is_one_method(tmp_path: Path) -> None:
    rows = predictions("m", n=90)
    write_rows(tmp_path / "parts" / "a.parquet", rows[:40])
    write_rows(tmp_path / "parts" / "b.parquet", rows[40:])
    write_predictions(tmp_path / "m.jsonl", rows)
    single, joined = (score_files([tmp_path / name], replicates=20) for name in ("m.jsonl", "parts"))
    assert joined.methods == single.methods
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no Parquet file of predictions"):
        score_files([tmp_path / "empty"])
