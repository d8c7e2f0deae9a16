"""A finished run beside the baselines: networks on what its frozen base sees, judged on the same rows in one table.

The language model is not trained again: its rows are read from the run. Under RUN/baselines are written the files of
views (what the frozen base sees of each sample, one file a task), each baseline's rows and networks, and the scorecard
of all; the run's own report is written anew with it.

    emocaliber compare out/demo
    emocaliber baseline features --suite eval/suites/tiny.yaml --out out/features
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from msgspec import structs

from emocaliber.baselines.experiment import (
    CALIBRATION,
    NETWORKS,
    PREDICTIONS,
    BaselineRecipe,
    Progress,
    settings_of,
    train_and_predict,
)
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, read_predictions
from emocaliber.core.samples import Sample
from emocaliber.data.embedded import FILES, load
from emocaliber.data.parquet import read_samples
from emocaliber.evaluation.compute import build_scorecard
from emocaliber.evaluation.scorecard import Scorecard
from emocaliber.evaluation.suite import load_suite
from emocaliber.models.location import fingerprint, model_folder
from emocaliber.reading.foreign_outputs import is_table, read_lines
from emocaliber.reading.tables import RECOGNISED, Columns, read_table
from emocaliber.reporting.run_report import write_run_report
from emocaliber.reporting.run_summary import RunSummary, read_run_summary
from emocaliber.reporting.score_report import write_score_report
from emocaliber.runs.judging import POST_HOC, PROBABILITY, STAGE_2, STATED, Rows, read_rows
from emocaliber.runs.resume import file_hash, run_step
from emocaliber.runs.scoring import score_files

BASELINES = "baselines"
LANGUAGE_MODEL = (STAGE_2, STATED, PROBABILITY, *POST_HOC)
COMPARED = ("softmax", "edl", "tmc", "etmc", "ter", "amber2")


def compare(
    run: Path,
    on_progress: Progress = lambda _: None,
    *,
    predictions: Sequence[Path] = (),
    columns: Columns = RECOGNISED,
) -> Path:
    """Train the missing baselines, evaluate all methods and write both reports; returns the path of the run's.

    `predictions` are files of other methods on the run's test samples: prediction files, or tables with the samples'
    ids. Raises UserError if the run is not finished, or its base has changed since training.
    """
    summary = read_run_summary(run / "report")
    data, model = _base(run, summary)
    folder = run / BASELINES
    views = _views(folder / "views", data, model, on_progress)
    with _one_thread():
        for name in COMPARED:
            _rows(name, views, folder / name, on_progress)
    test, calibration = (_language_model(run, split) for split in ("test", "calibrate"))
    for name in COMPARED:
        test[name] = list(read_predictions(folder / name / PREDICTIONS))
        if (folder / name / CALIBRATION).is_file():
            calibration[name] = list(read_predictions(folder / name / CALIBRATION))
    test |= _others(predictions, columns, test[STATED])
    card = build_scorecard(test, calibration=calibration, subject=STATED, on_progress=on_progress)
    write_score_report(card, folder)
    return write_run_report(replace(summary, baselines=card), run / "report")


def _others(paths: Sequence[Path], columns: Columns, run_rows: Sequence[Prediction]) -> Rows:
    """The rows of these files by method. Rows of a table take task, group and cluster from the run's row with the same
    id.

    Raises UserError if a table has no labels, an id is unknown to the run, or a true label contradicts the run's.
    """
    by_id, others = {row.id: row for row in run_rows}, defaultdict(list)
    spelling = {str(row.truth).casefold(): str(row.truth) for row in run_rows}
    for path in paths:
        if not is_table(path):
            for row in read_lines(path, labels=columns.labels):
                others[row.method].append(row)
            continue
        table = read_table(path, columns)
        if "correct" in table.columns:
            raise UserError(f"{path}: the run's rows have labels; name --label-column and --prediction-column")
        for row in table.rows:
            own = by_id.get(row.id)
            if own is None or str(own.truth).casefold() != str(row.truth).casefold():
                problem = "is not that of a test sample of the run" if own is None else f"is {own.truth!r} in the run"
                raise UserError(f"{path}: id {row.id!r} {problem}; give the samples' own ids (--id-column) and labels")
            predicted = None if row.predicted is None else spelling.get(row.predicted.casefold(), row.predicted)
            known = {"task": own.task, "group": own.group, "cluster": own.cluster, "truth": own.truth}
            others[row.method].append(structs.replace(row, **known, predicted=predicted))
    return dict(others)


def _base(run: Path, summary: RunSummary) -> tuple[list[str], str]:
    """The run's data, and the folder or hub name of the model that it started from."""
    inputs = json.loads((run / "predictions" / "stage-3" / "inputs.json").read_text())
    named = summary.stages[-1].recipe["model"]
    model = model_folder(named)
    if fingerprint(model) != inputs["model"]:
        raise UserError(f"{run}: its model {named!r} has changed since; run it again, or compare where it was run")
    return list(inputs["data"]), model


def _views(folder: Path, data: list[str], model: str, on_progress: Progress) -> list[Path]:
    def work(out: Path) -> dict[str, Any]:
        return {"files": [path.name for path in write_features(data, model, out, on_progress=on_progress)]}

    inputs = {"model": fingerprint(model), "data": data}
    return [folder / name for name in run_step(folder, inputs, work)["files"]]


def _rows(name: str, views: list[Path], folder: Path, on_progress: Progress) -> None:
    inputs = {"method": name, "network": repr(NETWORKS[name]), "views": [file_hash(path) for path in views]}

    def work(out: Path) -> dict[str, Any]:
        test, calibration = train_and_predict(name, BaselineRecipe(NETWORKS[name]), views, out, on_progress)
        return {"test": len(test), "calibrate": len(calibration)}

    run_step(folder, inputs, work)


def _language_model(run: Path, split: str) -> Rows:
    rows = read_rows(run, split)
    return {name: rows[name] for name in LANGUAGE_MODEL}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Networks this small lose more by waking threads than they gain, and one thread gives the same rows anywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


QUESTIONS = {"kaomoji": "Read the signs."}
QUESTION = "Describe the drawing."
"""What the backbone is asked for its caption: the tiny one has learnt to read signs and to describe drawings."""


def suite_data(suite: Path) -> list[str]:
    """The names of a suite's tasks. Raises UserError where one of them does not come with the package."""
    tasks = list(load_suite(suite).tasks)
    if unknown := [task for task in tasks if task not in FILES]:
        missing = f"{suite}: task {unknown[0]!r} does not come with the package"
        raise UserError(f"{missing}; write its views with `emocaliber baseline features --data FILE.parquet`")
    return tasks


def write_features(
    data: Sequence[str],
    model: str,
    out: Path,
    question: str | None = None,
    batch_size: int = 64,
    on_progress: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """A file of views for each of the data, each of one task; returns their paths."""
    from emocaliber.baselines.features import FeatureExtractor, view_set
    from emocaliber.baselines.view_files import write_views
    from emocaliber.models.location import embedded_base

    folder = embedded_base() if model == "tiny" else model
    written = []
    for name in data:
        prompt = question or QUESTIONS.get(name, QUESTION)
        views = view_set(_samples(name), FeatureExtractor(folder, prompt, batch_size=batch_size), on_progress)
        written.append(out / f"{views.task}.npz")
        write_views(written[-1], views)
    return written


def _samples(name: str) -> list[Sample]:
    return load(name) if name in FILES else read_samples(Path(name))


def run_baseline(
    name: str,
    view_files: list[Path],
    out: Path,
    *,
    recipe: Path | None = None,
    seed: int | None = None,
    suite: Path | None = None,
    on_progress: Progress = lambda _: None,
) -> Scorecard:
    """Train the baseline `name` on each file of views (one per task), write everything to `out`, and return the
    scorecard.

    `seed` overrides the recipe's. Raises UserError for a recipe of another method and for invalid files.
    """
    _, held_out = train_and_predict(name, settings_of(name, recipe, seed), view_files, out, on_progress)
    calibration = [out / CALIBRATION] if held_out else []
    return score_files([out / PREDICTIONS], calibration=calibration, suite=suite, out=out, on_progress=on_progress)
