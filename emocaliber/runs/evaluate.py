"""The end of the road: ask a trained model about calibration and test rows, and judge what it says.

Not an engine and not a metric: `emocaliber predict` asks and `emocaliber score` judges, with the keys that a flat
evaluate.yaml gives them. Stopped and started again, it asks only what is not answered yet.

    emocaliber run recipes/qwen2.5-vl-7b/evaluate.yaml --model out/model --out out/evaluation
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from emocaliber.core.errors import UserError, did_you_mean
from emocaliber.core.files import read_mapping
from emocaliber.core.predictions import Source, read_predictions, write_predictions
from emocaliber.evaluation.suite import load_suite
from emocaliber.generation.readouts import FILES
from emocaliber.runs.predict import predict
from emocaliber.runs.prediction_settings import PredictSettings
from emocaliber.runs.scoring import score_files
from emocaliber.stages.clusters import fresh_rows, trained_clusters_of

SPLITS = ("calibrate", "test")
READ_OUTS = {"stated": Source.VERBALIZED, "expected": Source.EXPECTED, "probability": Source.LOGPROB}
OURS = {"data", "suite"}
SET_BY_COMMAND = {"source", "split", "model", "adapter"}


@dataclass(frozen=True)
class Evaluation:
    """An evaluate.yaml: the data sets, the suite that declares their tasks, and how each of them is asked about."""

    data: tuple[str, ...]
    suite: Path | None
    settings: PredictSettings


def evaluate(path: Path, model: str, adapter: str | None, out: Path, seed: int | None = None) -> Path:
    """Write answers to `out/answers`, prediction rows to `out/rows` and the scorecard to `out`; returns the report's
    path.

    `seed` replaces that of the file. Raises UserError if a key is unknown, or rows cannot be queried.
    """
    evaluation = read_evaluation(path)
    settings = dataclasses.replace(evaluation.settings, model=model, adapter=adapter)
    if seed is not None:
        settings = dataclasses.replace(settings, seed=seed)
    trained = trained_clusters_of(adapter or model)
    rows: dict[str, list[Path]] = {split: [] for split in SPLITS}
    for split in SPLITS:
        folders = [out / "answers" / split / Path(name).stem for name in evaluation.data]
        for name, folder in zip(evaluation.data, folders, strict=True):
            print(f"{name}, {split}:", flush=True)
            predict(dataclasses.replace(settings, source=(name,), split=split), folder)
        for read_out, source in READ_OUTS.items():
            target = out / "rows" / f"{read_out}.{split}.jsonl"
            rows[split] += merged(folders, source, target, read_out, trained if split == "calibrate" else frozenset())
    score_files(rows["test"], calibration=rows["calibrate"], suite=evaluation.suite, out=out)
    return out / "report.html"


def read_evaluation(path: Path) -> Evaluation:
    """An evaluate.yaml. Raises UserError where it, its suite or a key is wrong, or it names no data."""
    values = read_mapping(path)
    if not (isinstance(values.get("data"), list) and values["data"]):
        raise UserError(f"{path}: data: give a list such as [kaomoji, emoji]")
    suite = None if "suite" not in values else Path(values["suite"])
    if suite is not None:
        load_suite(suite)
    settings = {key: value for key, value in values.items() if key not in OURS}
    return Evaluation(tuple(map(str, values["data"])), suite, _settings(path, settings))


def _settings(path: Path, values: Mapping[str, Any]) -> PredictSettings:
    keys = {field.name for field in dataclasses.fields(PredictSettings)} - SET_BY_COMMAND
    for key in values:
        if key not in keys:
            near = did_you_mean(key, keys) or f"; the keys are data, suite, {', '.join(sorted(keys))}"
            raise UserError(f"{path}: unknown key {key!r}{near}")
    try:
        return msgspec.convert({"source": (), **values}, PredictSettings)
    except msgspec.ValidationError as error:
        what, _, key = str(error).partition(" - at `$.")
        raise UserError(f"{path}: {key.rstrip('`')}: {what[0].lower()}{what[1:]}") from None


def merged(folders: list[Path], source: Source, target: Path, read_out: str, trained: frozenset[str]) -> Iterator[Path]:
    """Write one file of the rows of all tasks, without clusters that stage 3 learned from, their method named after the
    read-out, and yield its path. Yields nothing if the template does not allow this read-out or no row is left."""
    files = [folder / FILES[source] for folder in folders if (folder / FILES[source]).is_file()]
    rows = [row for file in files for row in read_predictions(file)]
    fresh = fresh_rows(rows, trained)
    if len(fresh) < len(rows):
        print(f"{read_out}: {len(fresh)} of {len(rows)} calibration rows are fresh, stage 3 learned from the others")
    if fresh:
        write_predictions(target, (replace(row, method=f"{row.method}, {read_out}") for row in fresh))
        yield target
