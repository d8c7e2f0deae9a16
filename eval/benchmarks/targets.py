"""How good are the confidence targets of stage 2, before any training?

Nothing is trained here. The stage-1 model answers rows that it has not seen, and each kind of target is scored as if
the model stated it. On schematic faces, whose true probabilities are known, targets are scored both as they are and
through an isotonic map fitted on the other half of the rows: the map corrects errors of scale, so what remains is
information that the target lacks.

    python eval/benchmarks/calibrators.py --seeds 0 --worlds faces --methods "proper, mean-brier"   # makes stage 1
    python eval/benchmarks/targets.py --run out/calibrators/faces/0 --rows 400 --out eval/results/stage-2-targets.md

On any labelled rows, it compares maps of several signals with the temperature-scaled label probability. All are
cross-fitted by cluster, as stage 2 fits them on its calibration rows:

    emocaliber predict kaomoji --split calibrate --model tiny --adapter out/1-label/adapter --signals blinded,hidden \\
        --out out/asked
    python eval/benchmarks/targets.py --asked out/asked/predictions-logprob.jsonl --out teachers.md
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace as settings_with
from datetime import date
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from emocaliber.calibration.cross_fitting import cross_fitted
from emocaliber.calibration.fit import ALL
from emocaliber.calibration.learners import HIDDEN
from emocaliber.calibration.maps import fit_isotonic
from emocaliber.core.predictions import Prediction, Source, read_predictions
from emocaliber.core.samples import Sample
from emocaliber.evaluation.calibration import ece
from emocaliber.evaluation.compute import DEFAULTS, build_scorecard
from emocaliber.evaluation.counts import count_rows
from emocaliber.evaluation.discrimination import auroc
from emocaliber.evaluation.proper_scores import brier_score
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.models.location import embedded_base
from emocaliber.reporting.document import Cell, Document, Table
from emocaliber.reporting.floors import difference_cell
from emocaliber.reporting.pages import render_markdown
from emocaliber.reporting.tables import value_cell
from emocaliber.runs.resume import samples_of
from emocaliber.runs.teacher import EngineTeacher
from emocaliber.stages.teacher import COPIES, DRAWS, agreement, survival
from eval.worlds.faces_truth import read_truths, truth_path

Floats = npt.NDArray[np.float64]

HEAD = """# Targets of stage 2, judged as if they were stated

{today}, 2 CPU cores. Written by `python eval/benchmarks/targets.py`: the stage-1 model of schematic faces (seed 0)
asked about n = {n:,} faces of the calibration split. Every target is of the same answers, the likeliest labels
(accuracy {accuracy:.3f}). `regret` is the mean of (target - p(answer))² by the known p, with its standard error;
`mapped` are the Brier score and the regret through an isotonic map fitted on the other half of the rows.

| target | values | Brier | ECE (15 bins) | AUROC | regret | Brier, mapped | regret, mapped |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


OWN_PROBABILITY = "own probability, temperature"


def ask_for_targets(samples: list[Sample], adapter: Path) -> tuple[list[str], dict[str, Floats]]:
    """The stage-1 model's likeliest labels [n], and each target's confidences in them [n], by the target's name."""
    greedy, sampling = (
        TransformersEngine(embedded_base(), adapter=adapter, batch_size=96, max_new_tokens=12, temperature=t, seed=0)
        for t in (0.0, 1.0)
    )
    degraded = survival(samples, EngineTeacher(greedy))
    sampled = agreement(samples, EngineTeacher(sampling))
    votes = [
        np.array([(sample.votes or {}).get(label, 0) for label in sample.candidates], dtype=float) for sample in samples
    ]
    distributions = {
        "own probability": degraded.beliefs,
        f"agreement: of {DRAWS} drawn answers": sampled.beliefs,
        f"degraded: of {COPIES} spoilt copies": degraded.stated,
        "votes: of 10 raters": [counts / counts.sum() for counts in votes],
    }
    answers = [int(belief.argmax()) for belief in degraded.beliefs]
    labels = [sample.candidates[answer] for sample, answer in zip(samples, answers, strict=True)]
    confidences = {
        name: np.array([row[answer] for row, answer in zip(rows, answers, strict=True)])
        for name, rows in distributions.items()
    }
    return labels, confidences


def cross_fitted_isotonic(target: Floats, right: npt.NDArray[np.bool_]) -> Floats:
    """The confidences [n] of each half of the rows through the isotonic map fitted on the other half."""
    estimates, first_half = np.empty_like(target), np.arange(len(target)) % 2 == 0
    for half in (first_half, ~first_half):
        estimates[half] = fit_isotonic(target[~half], right[~half])(target[half])
    return estimates


def table_line(name: str, target: Floats, right: npt.NDArray[np.bool_], true_probability: Floats) -> str:
    """The table's line for one target [n]; `true_probability` [n] is that of the answer."""
    rows, mapped = count_rows(target, right), cross_fitted_isotonic(target, right)
    errors = [(confidence - true_probability) ** 2 for confidence in (target, mapped)]
    regrets = [f"{error.mean():.4f} ± {error.std() / len(error) ** 0.5:.4f}" for error in errors]
    cells = [
        name,
        f"{len(np.unique(target)):,}",
        f"{float(brier_score(rows)):.3f}",
        f"{float(ece(rows, bins=15)):.3f}",
        f"{float(auroc(rows)):.3f}",
        regrets[0],
        f"{float(brier_score(count_rows(mapped, right))):.3f}",
        regrets[1],
    ]
    return "| " + " | ".join(cells) + " |\n"


def fit_signal_maps(rows: Sequence[Prediction]) -> dict[str, Floats]:
    """The cross-fitted confidences [n] of the own probability and of a map of every subset of the rows' signals."""
    names = sorted({name for row in rows for name in row.signals or {}} - {"stated"})
    names += [HIDDEN] * all(row.hidden is not None for row in rows)
    confidences = {OWN_PROBABILITY: cross_fitted(rows, "distribution", "temperature", per_task=True)}
    for size in range(1, len(names) + 1):
        for subset in combinations(names, size):
            reduced = [_keep_signals(row, subset) for row in rows]
            confidences[f"signals: {', '.join(subset)}"] = cross_fitted(reduced, ALL, "signals", per_task=True)
    return confidences


def _keep_signals(row: Prediction, names: Sequence[str]) -> Prediction:
    signals = {name: value for name, value in (row.signals or {}).items() if name in names}
    return replace(row, signals=signals or None, hidden=row.hidden if HIDDEN in names else None)


def render_signals_table(rows: Sequence[Prediction]) -> str:
    """The scores of a map of each subset of the signals, with paired differences from the own probability, as
    Markdown."""
    predictions = {
        name: [
            replace(row, method=name, confidence=value, source=Source.POSTHOC, distribution=None, signals=None)
            for row, value in zip(rows, target.tolist(), strict=True)
        ]
        for name, target in fit_signal_maps(rows).items()
    }
    card = build_scorecard(predictions, settings=settings_with(DEFAULTS, bins=15), subject=OWN_PROBABILITY)
    lines = []
    for name in predictions:
        scores = card.method(name).find("all")
        values = [value_cell(scores.headline[metric]) for metric in ("brier", "ece", "auroc")]
        differences = [difference_cell(card, name, OWN_PROBABILITY, metric) for metric in ("brier", "auroc")]
        lines.append([Cell(name), *values, *differences])
    scores = card.methods[0].find("all")
    size = f"{scores.n:,} rows in {scores.n_clusters:,} clusters"
    caption = f"{date.today()}: {size}, each target fitted without the row's; 95 % intervals"
    header = ["Target", "Brier ↓", "ECE ↓", "AUROC ↑", "Brier − own probability's", "AUROC − own probability's"]
    text, _ = render_markdown(Document("", [Table(caption, header, lines)], []))
    return text.strip().removeprefix("#").strip() + "\n"


def main() -> None:
    """Ask the model or read its answers, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, help="folder of one seed of calibrators.py")
    source.add_argument("--asked", type=Path, help="predictions-logprob.jsonl of `emocaliber predict --signals`")
    parser.add_argument("--rows", type=int, default=1000, help="with --run, how many faces to ask about")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    arguments = parser.parse_args()
    if arguments.asked is not None:
        rows = [row for row in read_predictions(arguments.asked) if row.distribution and row.truth is not None]
        arguments.out.write_text(render_signals_table(rows))
        print(arguments.out.read_text())
        return
    faces = arguments.run / "faces.parquet"
    samples, truths = samples_of([str(faces)], ["calibrate"])[: arguments.rows], read_truths(truth_path(faces))
    labels, targets = ask_for_targets(samples, arguments.run / "1-label" / "adapter")
    right = np.array([label == sample.label for label, sample in zip(labels, samples, strict=True)])
    probability = np.array([truths[sample.id].accuracy(label) for label, sample in zip(labels, samples, strict=True)])
    table = HEAD.format(today=date.today(), n=len(samples), accuracy=right.mean())
    table += "".join(table_line(name, target, right, probability) for name, target in targets.items())
    _, heading, interpretation = arguments.out.read_text().partition("\n## ") if arguments.out.exists() else ("",) * 3
    arguments.out.write_text(table + heading + interpretation)
    print(table)


if __name__ == "__main__":
    main()
