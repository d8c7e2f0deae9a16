"""The road of reasoning: rationales taught, own reasoning learned from, whole responses calibrated and drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.data.embedded import samples_in
from emocaliber.generation.readouts import read_records, responses_file
from emocaliber.models.location import read_question
from emocaliber.reading import read_response, reasoning_of
from emocaliber.runs.recipes import read_recipe
from emocaliber.runs.train import train
from emocaliber.stages.examples import in_splits, refuse_without_rationale
from tests.runs.few_rows import few_rows
from tests.runs.reasoned import reasoned_recipes, reasoned_rows

ROWS = {"train": 64, "unlabelled": 12, "calibrate": 16, "test": 4}
STEPS = {"1-label": 70, "2-verbalize": 30, "3-calibrate": 2}


@pytest.mark.slow
def test_the_road_is_walked_and_its_answers_reason_first(tmp_path: Path) -> None:
    data = reasoned_rows(tmp_path / "few.parquet", ROWS)
    recipes = reasoned_recipes(tmp_path / "recipes", data, STEPS)
    before: list[str] = []
    for name in STEPS:
        out = tmp_path / name
        assert main(["train", str(recipes / f"{name}.yaml"), *before, "--out", str(out)]) == 0
        before = ["--adapter", str(out / "adapter")]
    question = read_question(tmp_path / "1-label" / "adapter")
    assert question is not None
    assert question.template.reasons
    assert json.loads((tmp_path / "2-verbalize" / "done.json").read_text())["result"]["examples"] > 0
    drawn = ["method=grpo", "num_generations=2", "max_completion_length=32", "packing=false", "max_steps=1"]
    second = ["--adapter", str(tmp_path / "2-verbalize" / "adapter")]
    road = [str(recipes / "3-calibrate.yaml"), *drawn, "per_device_train_batch_size=2", *second]
    assert main(["train", *road, "--out", str(tmp_path / "grpo")]) == 0
    lengths = [json.loads(line).get("completions/mean_length", 0) for line in (tmp_path / "grpo" / "log.jsonl").open()]
    assert max(lengths) > 8, "an answer alone takes 7 tokens"
    assert main(["predict", str(data), "--model", "tiny", *before, "--out", str(tmp_path / "answers")]) == 0
    records = list(read_records(responses_file(tmp_path / "answers", 0)))
    assert len(records) == ROWS["test"]
    for record in records:
        assert record.response.text.startswith("<think>")
        assert reasoning_of(record.response.text)
        assert read_response(record.response.text, record.candidates).confidence is not None


def test_rows_without_a_rationale_are_refused_by_file_row_and_key_or_left_out(tmp_path: Path) -> None:
    reasoned, bare = tmp_path / "reasoned.parquet", few_rows(tmp_path / "bare.parquet", {"train": 3})
    recipes = reasoned_recipes(tmp_path / "recipes", reasoned_rows(reasoned, {"train": 8}), STEPS)
    first = recipes / "1-label.yaml"
    recipe = read_recipe(first, [f"data=[{reasoned},{bare}]"])
    rows = in_splits(samples_in(recipe.data), recipe.splits, recipe.data)
    with pytest.raises(UserError, match=rf"{bare}: row 0 \(.*\): rationale: it has none, and {first} learns to reason"):
        refuse_without_rationale(recipe, rows)
    with pytest.raises(UserError, match=r"3 of 11 rows .*no rationale 3"):
        train(read_recipe(first, [f"data=[{reasoned},{bare}]", "drop_problems=true"]), None, tmp_path / "out")
