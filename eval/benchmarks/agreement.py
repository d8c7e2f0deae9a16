"""Do two runs agree? The share of answers that differ between two folders of `emocaliber predict`, and the distance of
their probabilities.

This measures exact figures; it is not a test (tests/generation/test_engines_agree.py allows one answer in a hundred to
differ). Float32 sums differ in their last bits between engines, so an answer whose two best tokens are nearly equal may
differ, too.

    emocaliber predict kaomoji --model tiny --adapter ADAPTER --out out/plain
    emocaliber predict kaomoji --model tiny --adapter ADAPTER --engine vllm --dtype float32 --out out/served
    python eval/benchmarks/agreement.py out/plain out/served
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import read_predictions
from emocaliber.generation.engine import IMAGE_ERROR
from emocaliber.generation.readouts import FILES, read_records, responses_file


def compare_texts(first: Path, second: Path) -> str:
    """The number of answers that differ, and the number compared. Raises UserError if the folders hold different
    samples."""
    pairs = list(zip(*(read_records(responses_file(out, 0)) for out in (first, second)), strict=True))
    if any(ours.id != theirs.id for ours, theirs in pairs):
        raise UserError(f"{first} and {second} do not hold the same samples in the same order")
    texts = [
        (ours.response.text, theirs.response.text)
        for ours, theirs in pairs
        if ours.response.finish_reason != IMAGE_ERROR
    ]
    differing = sum(ours != theirs for ours, theirs in texts)
    distinct = len({ours for ours, _ in texts})
    return f"{differing} of {len(texts)} texts differ ({differing / len(texts):.4f}); {distinct} distinct ones"


def compare_rows(first: Path, second: Path) -> list[str]:
    """For each read-out of both runs: how many labels differ, and the differences between the confidences."""
    lines = []
    for source, name in FILES.items():
        if not ((first / name).exists() and (second / name).exists()):
            continue
        rows = list(zip(*(read_predictions(out / name) for out in (first, second)), strict=True))
        labels = sum(ours.predicted != theirs.predicted for ours, theirs in rows)
        gaps = [
            abs(ours.confidence - theirs.confidence)
            for ours, theirs in rows
            if ours.confidence is not None and theirs.confidence is not None
        ]
        spread = f"median gap {np.median(gaps):.1e}, largest {max(gaps):.1e}" if gaps else "no confidence to compare"
        lines.append(f"{source}: {labels} of {len(rows)} labels differ; {len(gaps)} confidences, {spread}")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Compare the answers of two runs of `emocaliber predict`.")
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    arguments = parser.parse_args()
    print(compare_texts(arguments.first, arguments.second))
    print(*compare_rows(arguments.first, arguments.second), sep="\n")
