"""The verb `evaluate`: its arguments, and the evaluation they describe.

emocaliber evaluate recipes/qwen2.5-vl-7b/evaluate.yaml --model out/model --out out/evaluation
"""

from __future__ import annotations

import argparse
from pathlib import Path

from emocaliber.core.outputs import SCORECARD, Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("recipe", type=Path, help="an evaluate.yaml")
    parser.add_argument("--model", required=True, help="a model's folder (see `emocaliber export`), or its hub name")
    parser.add_argument("--adapter", help="a LoRA adapter's folder")
    parser.add_argument("--out", type=Path, required=True, help="answers, rows and the scorecard")
    parser.set_defaults(output=lambda a: Output(a.out, (*SCORECARD, "rows/*.jsonl", "answers/*/*/*.json*")))


def run(arguments: argparse.Namespace) -> None:
    """Ask, judge, and say where the report is."""
    from emocaliber.runs.evaluate import evaluate

    print(f"The report: {evaluate(arguments.recipe, arguments.model, arguments.adapter, arguments.out)}")
