"""The rows of an earlier run as opponents: new rows are compared with them, and their scores stay as they are.

So a map that was fitted on the earlier run's relative confidences holds for the new rows.

    read_opponents(Path("out/calibrate"), settings)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emocaliber.core.errors import UserError
from emocaliber.data.sources import PredictionSource
from emocaliber.generation.readouts import MANIFEST, read_records, responses_file
from emocaliber.generation.relative import Player
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
    asked: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["settings"]
    for name in ("model", "adapter"):
        if asked.get(name) != getattr(settings, name):
            raise UserError(
                f"--against {run}: its --{name} is {asked.get(name)}, not {getattr(settings, name)}; compare answers of"
                " one model"
            )
    scored = {}
    for record in read_records(responses_file(run, 0)):
        if (strength := record.response.signals.get(RELATIVE)) is not None:
            answer = record.response
            reading = read_response(answer.text, record.candidates, finish_reason=answer.finish_reason)
            scored[record.id] = (str(reading.label), strength)
    if not scored:
        raise UserError(f"--against {run}: no row of it has the signal {RELATIVE}; run it with --signals {RELATIVE}")
    selected = {name: asked.get(name) for name in ("labels", "split", "limit")}
    source = PredictionSource(tuple(asked["source"]), own_labels, **selected)
    samples = [sample for sample in source.samples(source.checked().splits) if sample.id in scored]
    if len(samples) < len(scored):
        lost = next(iter(scored.keys() - {sample.id for sample in samples}))
        raise UserError(f"--against {run}: {', '.join(asked['source'])} no longer holds its row {lost!r}")
    return [Player(sample, *scored[sample.id]) for sample in samples]
