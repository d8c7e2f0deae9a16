"""Recalibration files: fit a map on calibration predictions, keep it as JSON, apply it to any predictions.

For a model that cannot be trained: what it states, or its label probability, is mended after the fact. Not a judge:
the few figures that are printed come from emocaliber.evaluation.

    emocaliber recalibrate fit calibration.jsonl --map beta --of confidence --out map.json
    emocaliber recalibrate apply map.json predictions.jsonl --out mended.jsonl
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, get_args

import msgspec
import numpy as np

from emocaliber.calibration.maps import Beta, Isotonic, Map, Temperature
from emocaliber.calibration.posthoc import Kind, Recalibrator, Signal, fit_recalibrator
from emocaliber.core.errors import UserError
from emocaliber.core.outputs import Output
from emocaliber.core.prediction_files import read_predictions, write_atomically, write_predictions
from emocaliber.core.predictions import Prediction, State
from emocaliber.evaluation.calibration import ece
from emocaliber.evaluation.proper_scores import brier
from emocaliber.evaluation.tally import tally

FORMAT = "emocaliber recalibration 1"

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class Curve(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One map, fitted on so many rows: one of `temperature`, `isotonic` (two lists, x and y) and `beta` (a, b, c)."""

    rows: Annotated[int, msgspec.Meta(ge=1)]
    temperature: Annotated[float, msgspec.Meta(gt=0.0)] | None = None
    isotonic: tuple[tuple[Share, ...], tuple[Share, ...]] | None = None
    beta: tuple[float, float, float] | None = None


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file: what is mapped, the maps, and hashes of the calibration rows, which may not be judged with it."""

    format: str
    signal: Signal
    kind: Kind
    overall: Curve
    tasks: dict[str, Curve]
    fitted_on: tuple[str, ...]


def fit_file(calibration: Sequence[Path], signal: Signal, kind: Kind, out: Path, *, per_task: bool) -> Recalibrator:
    """Fit on all rows of these files and write the map. Raises UserError where no row can teach it."""
    rows = [row for path in calibration for row in read_predictions(path)]
    try:
        fitted = fit_recalibrator(rows, signal, kind, per_task=per_task)
    except ValueError as error:
        raise UserError(f"{', '.join(map(str, calibration))}: {error}; choose another with --of") from None
    counts = {task: sum(row.task == task for row in rows) for task in fitted.tasks}
    file = File(
        FORMAT,
        signal,
        kind,
        _curve(fitted.overall, len(rows)),
        {task: _curve(one, counts[task]) for task, one in fitted.tasks.items()},
        tuple(sorted({_hash(row) for row in rows})),
    )
    write_atomically(out, [msgspec.json.format(msgspec.json.encode(file), indent=1), b"\n"])
    return fitted


def read_file(path: Path) -> tuple[Recalibrator, frozenset[str]]:
    """The maps of a file, and the hashes of the rows they were fitted on. Raises UserError naming file and key."""
    try:
        file = msgspec.json.decode(path.read_bytes(), type=File)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {error}; write it anew with `emocaliber recalibrate fit`") from None
    if file.format != FORMAT:
        raise UserError(f"{path}: its 'format' is {file.format!r}, this version reads {FORMAT!r}; fit it anew")
    curves = {task: _map(path, f"tasks.{task}", curve, file.kind) for task, curve in file.tasks.items()}
    overall = _map(path, "overall", file.overall, file.kind)
    return Recalibrator(file.signal, file.kind, overall, curves), frozenset(file.fitted_on)


def apply_file(path: Path, predictions: Path, out: Path) -> tuple[list[Prediction], list[Prediction]]:
    """Map the rows of a prediction file, write them, return them before and after.

    Raises UserError where a row was used to fit the map: its figures would flatter it.
    """
    recalibrator, fitted_on = read_file(path)
    rows = list(read_predictions(predictions))
    if not rows:
        raise UserError(f"{predictions} holds no row; a run writes one for every sample, refused ones too")
    if taught := next((row.id for row in rows if _hash(row) in fitted_on), None):
        raise UserError(f"{predictions}: row {taught!r} was used to fit {path}; apply the map to rows it has not seen")
    mended = [
        one
        for row in rows
        for one in recalibrator.apply([row], f"{row.method}, {recalibrator.kind} {recalibrator.signal}")
    ]
    write_predictions(out, mended)
    return rows, mended


def figures(rows: Sequence[Prediction]) -> dict[str, float]:
    """Rows, Brier score and expected calibration error (15 bins); a row without a confidence costs the most."""
    answered = [row for row in rows if row.state is State.OK]
    stated = np.array([row.confidence for row in answered], dtype=float)
    right = np.array([row.predicted == row.truth for row in answered], dtype=float)
    counted = tally(stated, right, refused=len(rows) - len(answered))
    return {"rows": len(rows), "Brier": float(brier(counted)), "ECE": float(ece(counted, bins=15))}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's two commands."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    fit = commands.add_parser("fit", help="fit a map on calibration predictions and write it as JSON")
    fit.add_argument("calibration", nargs="+", type=Path, help="prediction files of calibration rows")
    fit.add_argument("--map", default="beta", choices=get_args(Kind), help="the kind of map (default: beta)")
    fit.add_argument("--of", default="confidence", choices=get_args(Signal), help="what to map (default: confidence)")
    fit.add_argument("--one-map", action="store_true", help="one map for all tasks, instead of one a task")
    fit.add_argument("--out", type=Path, required=True, help="the JSON file")
    apply = commands.add_parser("apply", help="apply a fitted map to predictions")
    apply.add_argument("map", type=Path, help="the JSON file that `fit` wrote")
    apply.add_argument("predictions", type=Path, help="a prediction file of other rows")
    apply.add_argument("--out", type=Path, required=True, help="the prediction file to write")
    parser.set_defaults(output=lambda a: Output(a.out, is_file=True))


def run(arguments: argparse.Namespace) -> None:
    """Fit or apply, and say what came of it."""
    if arguments.command == "fit":
        fitted = fit_file(
            arguments.calibration, arguments.of, arguments.map, arguments.out, per_task=not arguments.one_map
        )
        own = f"{len(fitted.tasks)} tasks have their own" if fitted.tasks else "for all tasks"
        print(f"{fitted.kind} map of the {fitted.signal}, {own}: {arguments.out}")
        return
    for name, rows in zip(
        ("before", "after"), apply_file(arguments.map, arguments.predictions, arguments.out), strict=True
    ):
        told = figures(rows)
        print(f"{name:<7} Brier {told['Brier']:.4f}  ECE {told['ECE']:.4f}  ({told['rows']:.0f} rows)")
    print(f"The mended rows: {arguments.out}")


def _curve(fitted: Map, rows: int) -> Curve:
    if isinstance(fitted, Temperature):
        return Curve(rows, temperature=fitted.temperature)
    if isinstance(fitted, Isotonic):
        return Curve(rows, isotonic=(fitted.x, fitted.y))
    return Curve(rows, beta=(fitted.a, fitted.b, fitted.c))


def _map(path: Path, key: str, curve: Curve, kind: Kind) -> Map:
    given = [name for name in get_args(Kind) if getattr(curve, name) is not None]
    if given != [kind]:
        raise UserError(
            f"{path}: {key} must hold a {kind} map and nothing else, but holds {given or 'none'}; fit it anew"
        )
    if curve.temperature is not None:
        return Temperature(curve.temperature)
    if curve.beta is not None:
        return Beta(*curve.beta)
    assert curve.isotonic is not None
    x, y = curve.isotonic
    if not x or len(x) != len(y) or list(x) != sorted(x) or list(y) != sorted(y):
        raise UserError(f"{path}: {key}.isotonic must be two ascending lists of one length; fit it anew")
    return Isotonic(x, y)


def _hash(row: Prediction) -> str:
    return hashlib.sha256(f"{row.task}\0{row.id}".encode()).hexdigest()[:16]
