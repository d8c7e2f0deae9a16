"""Relative confidence in a run: its rows are compared with each other, or with the rows of an earlier run.

The earlier run's scores stay as they are, so that a map that was fitted on them holds for the new rows.

    opponents = read_opponents(Path("out/calibrate"), settings, labels)
    print(compare_rows(samples, engine, Path("out/test"), template, settings, max_pixels, opponents))
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import Template
from emocaliber.core.samples import Sample
from emocaliber.data.sources import PredictionSource
from emocaliber.generation.engine import Engine
from emocaliber.generation.questions import RemoteEngine
from emocaliber.generation.readouts import MANIFEST, read_records, responses_file
from emocaliber.generation.relative import Player, compare
from emocaliber.generation.signals import RELATIVE
from emocaliber.reading import read_response
from emocaliber.runs.prediction_settings import PredictSettings


def read_opponents(run: Path, settings: PredictSettings, own_labels: tuple[str, ...]) -> list[Player]:
    """The run's rows that have a relative confidence, with their pictures from where the run read them.

    `own_labels` are the labels of the adapter. Raises UserError if the run is not there, another model answered it, no
    row has a relative confidence, or a picture is no longer there.
    """
    path = run / MANIFEST
    if not path.is_file():
        raise UserError(f"--against {run}: there is no {MANIFEST}; name the folder of a finished run of `predict`")
    recorded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["settings"]
    for name in ("model", "adapter"):
        if recorded.get(name) != getattr(settings, name):
            raise UserError(
                f"--against {run}: its --{name} is {recorded.get(name)}, not {getattr(settings, name)}; compare answers"
                " of one model"
            )
    scored = {}
    for record in read_records(responses_file(run, 0)):
        if (strength := record.response.signals.get(RELATIVE)) is not None:
            answer = record.response
            reading = read_response(answer.text, record.candidates, finish_reason=answer.finish_reason)
            scored[record.id] = (str(reading.label), strength)
    if not scored:
        raise UserError(f"--against {run}: no row of it has the signal {RELATIVE}; run it with --signals {RELATIVE}")
    selection = {name: recorded.get(name) for name in ("labels", "split", "limit")}
    source = PredictionSource(tuple(recorded["source"]), own_labels, **selection)
    samples = [sample for sample in source.samples(source.checked().splits) if sample.id in scored]
    if len(samples) < len(scored):
        lost = next(iter(scored.keys() - {sample.id for sample in samples}))
        raise UserError(f"--against {run}: {', '.join(recorded['source'])} no longer holds its row {lost!r}")
    return [Player(sample, *scored[sample.id]) for sample in samples]


def compare_rows(
    samples: Iterable[Sample],
    engine: Engine | RemoteEngine,
    out: Path,
    template: Template,
    settings: PredictSettings,
    max_pixels: int,
    opponents: Sequence[Player],
) -> str:
    """Compare the rows, and say how many pairs there were and which failed."""
    compared = compare(
        samples,
        engine,
        out,
        template,
        method=settings.method,
        draws=settings.samples,
        seed=settings.seed,
        constrain=settings.constrain,
        max_pixels=max_pixels,
        opponents=opponents,
    )
    line = f"Relative confidence: {compared.pairs:,} pairs of answers, {compared.queried:,} questions asked now"
    if not compared.failed:
        return line
    return (
        f"{line}; {compared.failed:,} pairs do not count, the first because: {compared.first_error}. The same command"
        " asks them again"
    )
