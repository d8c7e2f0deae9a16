"""An under-trained model's confidence is far from its probability on training rows too, an over-fitted one's only on
fresh rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emocaliber.calibration.fit import fit_recalibrator
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, Source, State, write_predictions
from emocaliber.generation.readouts import FILES
from emocaliber.stages.clusters import write_trained_clusters
from eval.benchmarks.learning import read_confidences, render_table
from eval.benchmarks.verbalization import load_read_outs

LABELS = ["joy", "fear", "awe"]


def answered(folder: Path, *, noise: float, seed: int, n: int = 400) -> Path:
    """Rows whose mean level is the calibrated probability of the answer, plus noise; the last one is unreadable."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    stated, expected, probability = list[Prediction](), list[Prediction](), list[Prediction]()
    for i in range(n):
        shares = rng.dirichlet([1.0, 1.0, 1.0])
        label, truth, best = LABELS[int(shares.argmax())], str(rng.choice(LABELS, p=shares)), float(shares.max())
        mean = float(np.clip(best + rng.normal(0, noise), 0, 1))
        readable = i < n - 1
        common: dict[str, Any] = {
            "id": str(i),
            "task": "t",
            "group": "",
            "cluster": f"{seed}-{i // 2}",
            "truth": truth,
            "method": "m",
        }
        said: dict[str, Any] = {
            "predicted": label if readable else None,
            "state": State.OK if readable else State.MISSING_LABEL,
        }
        stated.append(Prediction(**common, **said, confidence=round(mean * 20) / 20 if readable else None,
                                 source=Source.VERBALIZED))  # fmt: skip
        expected.append(Prediction(**common, **said, confidence=mean if readable else None,
                                   source=Source.EXPECTED))  # fmt: skip
        probability.append(Prediction(**common, predicted=label, confidence=best, state=State.OK, probability=best,
                                      source=Source.LOGPROB,
                                      distribution=dict(zip(LABELS, shares.tolist(), strict=True))))  # fmt: skip
    for source, rows in ((Source.VERBALIZED, stated), (Source.EXPECTED, expected), (Source.LOGPROB, probability)):
        write_predictions(folder / FILES[source], rows)
    return folder


def cells_of(text: str) -> dict[str, list[str]]:
    """The table's cells by the name of the row."""
    lines = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if "|" in line]
    return {name: cells for name, *cells in lines}


def test_what_was_learned_of_taught_rows_alone_is_far_from_the_probability_on_fresh_ones(tmp_path: Path) -> None:
    sets = {"taught": answered(tmp_path / "1", noise=0.0, seed=1), "fresh": answered(tmp_path / "2", noise=0.2, seed=2)}
    cells = cells_of(render_table(sets, "fresh", None))
    squared = {name: float(cells[name][4].split()[0]) for name in sets}
    assert squared["taught"] < 0.003
    assert squared["fresh"] > 0.02
    assert float(cells["fresh"][1]) < 0.9
    assert float(cells["taught"][1]) > 0.99
    assert cells["taught"][0] == "399 in 200", "the unreadable answer says nothing"


def test_clusters_that_stage_3_learned_are_not_fresh(tmp_path: Path) -> None:
    rows, adapter = answered(tmp_path / "1", noise=0.1, seed=3), tmp_path / "adapter"
    adapter.mkdir()
    write_trained_clusters(adapter, [f"3-{i}" for i in range(150)])
    cells = cells_of(render_table({"taught": rows, "fresh": rows}, "fresh", adapter))
    assert (cells["taught"][0], cells["fresh"][0]) == ("399 in 200", "99 in 50")


def test_a_folder_without_a_readable_answer_is_refused_by_name(tmp_path: Path) -> None:

    rows = answered(tmp_path / "1", noise=0.1, seed=4)
    temperature = fit_recalibrator(load_read_outs(rows).probability, "distribution", "temperature", per_task=True)
    with pytest.raises(UserError, match="no row has a readable answer"):
        read_confidences(answered(tmp_path / "2", noise=0.1, seed=5, n=1), frozenset(), temperature)
