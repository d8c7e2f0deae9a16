"""The record of a finished run: its calibration answers about the pictures that stage 3 did not train on.

Not the whole calibration split: what a model says about the rest of it, it was taught. The slice that is left helped to
choose the step at which training stopped, and nothing else.

    emocaliber chat --model DIR --adapter RUN/3-calibrate/adapter --calibration RUN
"""

from __future__ import annotations

import json
from pathlib import Path

from emocaliber.chat.record import Record, record_of
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, read_predictions
from emocaliber.stages.calibrate.split import held_out_clusters


def record_of_run(run: Path) -> Record:
    """Count the held-out rows of an `emocaliber run ... --out RUN`. Raises UserError where it is none, or not whole."""
    return record_of(held_out_rows(run))


def held_out_rows(run: Path) -> list[Prediction]:
    """What stage 3's model states about the calibration pictures that it was not trained on.

    Found by the rows' clusters, the recipe's share and its seed, and checked against the number that the run noted.
    Raises UserError naming the file where one lacks or they do not agree.
    """
    done, predicted = run / "3-calibrate" / "done.json", run / "predictions" / "stage-3" / "stated.calibrate.jsonl"
    try:
        stage = json.loads(done.read_text(encoding="utf-8"))
        recipe, result = stage["inputs"]["recipe"], stage["result"]
        share, seed = float(recipe["held_out"]), int(recipe["seed"])
        most = int(result["held_out"]) + int(result["unreadable"])
    except OSError as problem:
        raise UserError(
            f"{done}: no finished stage 3 ({problem.strerror}); give the folder of a finished run"
        ) from None
    except (ValueError, KeyError, TypeError) as problem:
        raise UserError(f"{done}: {problem!r} is not as stage 3 writes it; run `emocaliber run` again") from None
    rows = list(read_predictions(predicted))
    kept = held_out_clusters((row.cluster for row in rows), share, seed)
    held = [row for row in rows if row.cluster in kept]
    if not int(result["held_out"]) <= len(held) <= most:
        raise UserError(
            f"{predicted}: {len(held)} rows belong to the held-out clusters, but {done} notes {result['held_out']} of"
            " them; both must come from the same run"
        )
    return held
