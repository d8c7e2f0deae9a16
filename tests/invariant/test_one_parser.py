"""Promise: one parser. Reward, harness, chat and the conversion of others' outputs read text with the same function,
which is total, linear, and never raises."""

from __future__ import annotations

import ast
import dataclasses
import json
import random
import time
from pathlib import Path

import pytest

from emocaliber.core.predictions import Source, State
from emocaliber.core.prompting import load_template
from emocaliber.data.embedded import load
from emocaliber.generation.engine import STOP, Response
from emocaliber.generation.readouts import rows_of
from emocaliber.reading import read_response
from emocaliber.reading.foreign_outputs import read_merged
from emocaliber.stages.rewards import stated

PACKAGE = Path(__file__).parents[2] / "emocaliber"
PUBLIC = {"add_reasoning_tags", "read_response", "Reading", "foreign_outputs", "harness_rows", "headers", "tables",
          "table_cells", "STEPS", "answer_text", "bare_reasoning", "reasoning_of", "reasoning_steps"}  # fmt: skip
SAMPLE = load("kaomoji", "test")[0]
LABEL, OTHER = SAMPLE.candidates[:2]
PIECES = [
    f"<answer>{LABEL}</answer>",
    f"<answer>{OTHER}</answer>",
    "<confidence>0.85</confidence>",
    "<confidence>85%</confidence>",
    "<think>",
    "</think>",
    f'{{"emotion": "{LABEL}", "confidence": 0.7}}',
    f"Emotion: {OTHER}\nConfidence: 60",
    "not 100% sure",
    "<answer>",
    "\x00",
    "é",
    "{",
]


def texts(n: int) -> list[str]:
    chance = random.Random(0)
    return ["".join(chance.choices(PIECES, k=chance.randint(0, 6))) for _ in range(n)]


def test_whoever_reads_a_response_reads_the_same(tmp_path: Path):
    template, path = load_template("label-confidence"), tmp_path / "merged.jsonl"
    for number, text in enumerate(texts(300)):
        reading = read_response(text, SAMPLE.candidates)
        sample = dataclasses.replace(SAMPLE, id=str(number))
        row = rows_of(sample, Response(str(number), text, STOP), template, method="m")[Source.VERBALIZED]
        harness = read_response(text, SAMPLE.candidates, finish_reason=STOP)
        assert (row.predicted, row.confidence, row.state) == (harness.label, harness.confidence, harness.state)
        expected = (reading.label, reading.confidence) if reading.state is State.OK else None
        assert stated(text, SAMPLE.candidates) == expected
        line = {"response": text, "ground_truth": LABEL, "candidates": SAMPLE.candidates, "task": "t"}
        path.write_text(json.dumps(line) + "\n")
        [merged] = read_merged(path)
        assert (merged.predicted, merged.confidence, merged.state) == (
            reading.label,
            reading.confidence,
            reading.state,
        )


def test_no_other_room_imports_the_parts_of_the_parser():
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] == "reading":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("emocaliber.reading"):
                names = {(node.module or "").removeprefix("emocaliber.reading").lstrip(".")} - {""}
                assert (names or {alias.name for alias in node.names}) <= PUBLIC, path


@pytest.mark.parametrize("piece", [*PIECES, "<confidence>", "</answer>", "0.9 ", "[", '"', "Confidence: "])
def test_a_long_text_of_any_piece_takes_no_longer_than_its_length(piece: str):
    def seconds(size: int) -> float:
        text, began = piece * (size // len(piece)), time.perf_counter()
        read_response(text, SAMPLE.candidates)
        return time.perf_counter() - began

    seconds(1000)
    assert seconds(200_000) < 200 * max(seconds(20_000), 0.005)
