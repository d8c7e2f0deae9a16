"""The end of the road: ask a trained model about calibration and test rows, and judge what it says.

Not an engine and not a metric: `emocaliber generate` asks and `emocaliber score` judges, with the keys that a flat
evaluate.yaml gives them. Stopped and started again, it asks only what is not answered yet.

    emocaliber run recipes/qwen2.5-vl-7b/evaluate.yaml --model out/model --out out/evaluation
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Source, read_predictions, write_predictions
from emocaliber.core.yaml_files import read_mapping
from emocaliber.evaluation.suite import load_suite
from emocaliber.generation.harness import FILES
from emocaliber.runs import generate as command
from emocaliber.runs.scoring import score_files
from emocaliber.stages.calibrate.split import fresh_rows, trained_clusters_of

SPLITS = ("calibrate", "test")
READ_OUTS = {"stated": Source.VERBALIZED, "expected": Source.EXPECTED, "probability": Source.LOGPROB}


def evaluate(path: Path, model: str, adapter: str | None, out: Path) -> Path:
    """Answers under `out/answers`, rows under `out/rows`, the scorecard in `out`. Returns the report's path.

    Raises UserError where a key is unknown, or rows cannot be asked about.
    """
    values = settings(path)
    data, suite = values.pop("data"), values.pop("suite", None)
    trained = trained_clusters_of(adapter or model)
    asked = ["--model", model, *(["--adapter", adapter] if adapter else [])]
    rows: dict[str, list[Path]] = {split: [] for split in SPLITS}
    for split in SPLITS:
        folders = [out / "answers" / split / Path(name).stem for name in data]
        for name, folder in zip(data, folders, strict=True):
            print(f"{name}, {split}:", flush=True)
            command.run(parsed(path, values, [*asked, "--data", name, "--split", split, "--out", str(folder)]))
        for read_out, source in READ_OUTS.items():
            target = out / "rows" / f"{read_out}.{split}.jsonl"
            rows[split] += merged(folders, source, target, read_out, trained if split == "calibrate" else frozenset())
    score_files(rows["test"], calibration=rows["calibrate"], suite=None if suite is None else Path(suite), out=out)
    return out / "report.html"


def settings(path: Path) -> dict[str, Any]:
    """The keys of an evaluate.yaml. Raises UserError where it, its suite or a key is wrong, or it names no data."""
    values = read_mapping(path)
    if not (isinstance(values.get("data"), list) and values["data"]):
        raise UserError(f"{path}: data: give a list such as [kaomoji, emoji]")
    if "suite" in values:
        load_suite(Path(values["suite"]))
    parsed(
        path,
        {k: v for k, v in values.items() if k not in {"data", "suite"}},
        ["--data", "x", "--model", "x", "--out", "x"],
    )
    return values


def parsed(path: Path, values: dict[str, Any], more: list[str]) -> argparse.Namespace:
    """The keys as `emocaliber generate` takes them. Raises UserError naming a key that it does not know."""
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    command.add_arguments(parser)
    flags = list(more)
    for key, value in values.items():
        flag = "--" + str(key).replace("_", "-")
        flags += [flag] if value is True else [] if value is False else [flag, str(value)]
    try:
        found, unknown = parser.parse_known_args(flags)
    except argparse.ArgumentError as error:
        raise UserError(f"{path}: {error}") from error
    if unknown:
        raise UserError(f"{path}: unknown key {unknown[0].removeprefix('--')!r}; see `emocaliber generate --help`")
    return found


def merged(folders: list[Path], source: Source, target: Path, read_out: str, trained: frozenset[str]) -> Iterator[Path]:
    """One file of all tasks' rows whose clusters stage 3 did not learn from, their method named after the read-out,
    where the template allows this one and there are such rows."""
    files = [folder / FILES[source] for folder in folders if (folder / FILES[source]).is_file()]
    rows = [row for file in files for row in read_predictions(file)]
    fresh = fresh_rows(rows, trained)
    if len(fresh) < len(rows):
        print(f"{read_out}: {len(fresh)} of {len(rows)} calibration rows are fresh, stage 3 learned from the others")
    if fresh:
        write_predictions(target, (replace(row, method=f"{row.method}, {read_out}") for row in fresh))
        yield target
