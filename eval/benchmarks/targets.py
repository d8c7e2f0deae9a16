"""How good are the targets of stage 2, before anything learns from them?

Not a training: the stage-1 model is asked about rows that it has not seen, and what each target would teach is judged
as if it were stated. On schematic faces, whose truth is known, as it is and through an isotonic map fitted on the other
half of the rows: what the map mends is scale; what it leaves is what the target does not know.

    python eval/benchmarks/calibrators.py --seeds 0 --worlds faces --methods "proper, mean-brier"   # makes stage 1
    python eval/benchmarks/targets.py --run out/calibrators/faces/0 --rows 400 --out eval/results/stage-2-targets.md

On any labelled rows, maps of several signals beside the scaled label probability, each fitted without the clusters of
the row that it is judged on, as stage 2 fits them on its calibration rows:

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


OWN = "own probability, temperature"


def targets(samples: list[Sample], adapter: Path) -> tuple[list[str], dict[str, Floats]]:
    """The labels answered, [n], and from each target the confidence in them, [n]."""
    answered, drawing = (
        TransformersEngine(embedded_base(), adapter=adapter, batch_size=96, max_new_tokens=12, temperature=t, seed=0)
        for t in (0.0, 1.0)
    )
    survived = survival(samples, EngineTeacher(answered))
    beliefs, surviving = survived.beliefs, survived.stated
    drawn = agreement(samples, EngineTeacher(drawing)).beliefs
    votes = [
        np.array([(sample.votes or {}).get(label, 0) for label in sample.candidates], dtype=float) for sample in samples
    ]
    of = {
        "own probability": beliefs,
        f"agreement: of {DRAWS} drawn answers": drawn,
        f"degraded: of {COPIES} spoilt copies": surviving,
        "votes: of 10 raters": [counts / counts.sum() for counts in votes],
    }
    answers = [int(belief.argmax()) for belief in beliefs]
    labels = [sample.candidates[a] for sample, a in zip(samples, answers, strict=True)]
    return labels, {name: np.array([row[a] for row, a in zip(rows, answers, strict=True)]) for name, rows in of.items()}


def mapped(target: Floats, right: npt.NDArray[np.bool_]) -> Floats:
    """Each half through the map of the other."""
    estimates, first = np.empty_like(target), np.arange(len(target)) % 2 == 0
    for half in (first, ~first):
        estimates[half] = fit_isotonic(target[~half], right[~half])(target[half])
    return estimates


def line(name: str, target: Floats, right: npt.NDArray[np.bool_], truth: Floats) -> str:
    """One row of the table; `truth` [n] is p(answer)."""
    rows, better = count_rows(target, right), mapped(target, right)
    regrets = [
        f"{e.mean():.4f} ± {e.std() / len(e) ** 0.5:.4f}" for e in ((target - truth) ** 2, (better - truth) ** 2)
    ]
    cells = [
        name,
        f"{len(np.unique(target)):,}",
        f"{float(brier_score(rows)):.3f}",
        f"{float(ece(rows, bins=15)):.3f}",
        f"{float(auroc(rows)):.3f}",
        regrets[0],
        f"{float(brier_score(count_rows(better, right))):.3f}",
        regrets[1],
    ]
    return "| " + " | ".join(cells) + " |\n"


def of_signals(rows: Sequence[Prediction]) -> dict[str, Floats]:
    """From own probability and from every set of the signals that the rows have, the confidence in each row [n]."""
    names = sorted({name for row in rows for name in row.signals or {}} - {"stated"})
    names += [HIDDEN] * all(row.hidden is not None for row in rows)
    result = {OWN: cross_fitted(rows, "distribution", "temperature", per_task=True)}
    for size in range(1, len(names) + 1):
        for chosen in combinations(names, size):
            own = [_with_signals(row, chosen) for row in rows]
            result[f"signals: {', '.join(chosen)}"] = cross_fitted(own, ALL, "signals", per_task=True)
    return result


def _with_signals(row: Prediction, chosen: Sequence[str]) -> Prediction:
    kept = {name: value for name, value in (row.signals or {}).items() if name in chosen}
    return replace(row, signals=kept or None, hidden=row.hidden if HIDDEN in chosen else None)


def signals_table(rows: Sequence[Prediction]) -> str:
    """What a map of each set of signals would teach, with paired differences to own probability, as Markdown."""
    stated = {
        name: [
            replace(row, method=name, confidence=value, source=Source.POSTHOC, distribution=None, signals=None)
            for row, value in zip(rows, target.tolist(), strict=True)
        ]
        for name, target in of_signals(rows).items()
    }
    card = build_scorecard(stated, settings=settings_with(DEFAULTS, bins=15), subject=OWN)
    lines = []
    for name in stated:
        scores = card.method(name).find("all")
        values = [value_cell(scores.headline[metric]) for metric in ("brier", "ece", "auroc")]
        changes = [difference_cell(card, name, OWN, metric) for metric in ("brier", "auroc")]
        lines.append([Cell(name), *values, *changes])
    scores = card.methods[0].find("all")
    fitted = f"{scores.n:,} rows in {scores.n_clusters:,} clusters, each target fitted without the row's"
    caption = f"{date.today()}: {fitted}; 95 % intervals"
    header = ["Target", "Brier ↓", "ECE ↓", "AUROC ↑", "Brier − own probability's", "AUROC − own probability's"]
    text, _ = render_markdown(Document("", [Table(caption, header, lines)], []))
    return text.strip().removeprefix("#").strip() + "\n"


def main() -> None:
    """Ask, judge, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, help="a seed's folder of calibrators.py")
    source.add_argument("--asked", type=Path, help="rows of `emocaliber predict --signals`, predictions-logprob.jsonl")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.asked is not None:
        asked = [row for row in read_predictions(arguments.asked) if row.distribution and row.truth is not None]
        arguments.out.write_text(signals_table(asked))
        print(arguments.out.read_text())
        return
    faces = arguments.run / "faces.parquet"
    samples, truths = samples_of([str(faces)], ["calibrate"])[: arguments.rows], read_truths(truth_path(faces))
    labels, estimates = targets(samples, arguments.run / "1-label" / "adapter")
    right = np.array([label == sample.label for label, sample in zip(labels, samples, strict=True)])
    truth = np.array([truths[sample.id].accuracy(label) for label, sample in zip(labels, samples, strict=True)])
    text = HEAD.format(today=date.today(), n=len(samples), accuracy=right.mean())
    text += "".join(line(name, target, right, truth) for name, target in estimates.items())
    _, heading, reading = arguments.out.read_text().partition("\n## ") if arguments.out.exists() else ("", "", "")
    arguments.out.write_text(text + heading + reading)
    print(text)


if __name__ == "__main__":
    main()
