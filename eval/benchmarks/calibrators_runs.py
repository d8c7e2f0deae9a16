"""Reads the finished runs of calibrators.py: each method's answers on the test rows, its cost and its training curves.

For the table see calibrators_table; nothing is run here.

    cd eval/benchmarks && python -c "from calibrators_runs import *; print(read_world(Path('out'), {}).rows.keys())"
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from emocaliber.calibration.fit import Kind, Signal, fit_recalibrator
from emocaliber.core.predictions import Prediction, Source, State, read_predictions
from emocaliber.stages.calibrate.held_out import kept_step
from emocaliber.stages.training import ADAPTER
from eval.worlds.faces_truth import FaceTruth, read_truths, truth_path

Rows = list[Prediction]

STAGE_2 = "stage 2, stated"
EXPECTED = "stage 2, mean over levels"
PROBABILITY = "stage 2, label probability"
CONSTANT = "constant"
SIGNALS: dict[str, tuple[str, Signal]] = {
    "stated": ("stated", "confidence"),
    "probability": ("label probability", "distribution"),
}
KINDS: tuple[Kind, ...] = ("temperature", "isotonic", "beta")


@dataclass
class Found:
    """The finished results of one world: each method's rows by seed, its cost, and metrics on the held-out slice."""

    rows: dict[str, dict[int, Rows]] = field(default_factory=dict)
    cost: dict[str, dict[int, dict[str, float]]] = field(default_factory=dict)
    watched: dict[str, dict[int, list[dict[str, float]]]] = field(default_factory=dict)
    truths: dict[str, FaceTruth] = field(default_factory=dict)


def side_by_side(results: Found) -> list[Found]:
    """The results to compare: methods that ran with every seed; and, if some ran with fewer, all methods on their
    common seeds."""
    seeds = set(results.rows[STAGE_2])
    everywhere = {name for name, by_seed in results.rows.items() if set(by_seed) == seeds}
    if len(everywhere) == len(results.rows):
        return [results]
    common = set.intersection(*(set(by_seed) for by_seed in results.rows.values()))
    some = everywhere & set(results.cost)
    return [
        *([only(results, everywhere, seeds)] if some else []),
        *([only(results, set(results.rows), common)] if common else []),
    ]


def only(results: Found, names: set[str], seeds: set[int]) -> Found:
    """The results of these methods and seeds."""

    def kept(table: Mapping[str, dict[int, Any]]) -> dict[str, dict[int, Any]]:
        return {
            name: {seed: run for seed, run in by_seed.items() if seed in seeds}
            for name, by_seed in table.items()
            if name in names
        }

    return Found(kept(results.rows), kept(results.cost), kept(results.watched), results.truths)


def read_world(folder: Path, names: Mapping[str, str]) -> Found:
    """All finished results in the folders of a world's seeds."""
    results = Found()
    for path in sorted(folder.glob("*/stage-2/done.json")):
        seed, start = int(path.parent.parent.name), path.parent
        faces = path.parent.parent / "faces.parquet"
        if faces.exists():
            results.truths |= read_truths(truth_path(faces))
        for name, rows in _stage_2(start).items():
            results.rows.setdefault(name, {})[seed] = rows
        for done in sorted(path.parent.parent.glob("methods/*/rows/done.json")):
            method = done.parent.parent
            name = names[method.name]
            results.rows.setdefault(name, {})[seed] = list(read_predictions(done.parent / "stated.test.jsonl"))
            results.cost.setdefault(name, {})[seed] = json.loads((method / "cost.json").read_text())
            if (record := method / "training" / "held_out.jsonl").exists():
                lines = record.read_text().splitlines()
                results.watched.setdefault(name, {})[seed] = [json.loads(line) for line in lines]
                results.cost[name][seed]["kept step"] = kept_step(record.parent / ADAPTER)
    return results


def _stage_2(folder: Path) -> dict[str, Rows]:
    """Stage 2's read-outs, its post-hoc maps and its constant."""
    test, calibration = (
        {
            name: list(read_predictions(folder / f"{name}.{split}.jsonl"))
            for name in ("stated", "expected", "probability")
        }
        for split in ("test", "calibrate")
    )
    rows = {STAGE_2: test["stated"], EXPECTED: test["expected"], PROBABILITY: test["probability"]}
    for name, (fitted, signal) in SIGNALS.items():
        for kind in KINDS:
            method = f"{fitted}, {kind}"
            rows[method] = fit_recalibrator(calibration[name], signal, kind, per_task=True).apply(test[name], method)
    rows[CONSTANT] = _constant(test["stated"], calibration["stated"])
    return rows


def _constant(rows: Rows, calibration: Rows) -> Rows:
    right: dict[str, list[bool]] = {}
    for row in calibration:
        right.setdefault(row.task, []).append(row.predicted == row.truth)
    shares = {task: float(np.mean(hits)) for task, hits in right.items()}
    return [
        row
        if row.predicted is None
        else replace(row, confidence=shares[row.task], source=Source.CONSTANT, state=State.OK)
        for row in rows
    ]
