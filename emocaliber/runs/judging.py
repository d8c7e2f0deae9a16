"""From adapters to judgement: predictions of each stage on test and calibration rows, floors, scorecard.

Not a metric: `emocaliber.evaluation` computes, here rows are gathered and named.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from emocaliber.calibration.fit import isotonic, temperature_scaled
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, read_predictions, write_predictions
from emocaliber.core.prompting import ANSWER_TOKENS, load_template
from emocaliber.core.resolution import SHOWN_PIXELS
from emocaliber.evaluation.compute import build_scorecard
from emocaliber.evaluation.scorecard import Scorecard
from emocaliber.generation.engine import Response
from emocaliber.generation.predict import predict
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.runs.inputs import samples_of
from emocaliber.runs.steps import file_hash
from emocaliber.stages.calibrate.split import fresh_rows, read_trained_clusters
from emocaliber.stages.teacher import LABEL
from emocaliber.stages.training import ADAPTER

SPLITS = ("calibrate", "test")
STAGE_1 = "stage 1, label probability"
STAGE_2 = "stage 2, stated"
STATED = "stage 3, stated"
EXPECTED = "stage 3, mean over levels"
PROBABILITY = "stage 3, label probability"
TEMPERATURE = "stage 3, temperature-scaled"
ISOTONIC = "stage 3, isotonic"


Rows = dict[str, list[Prediction]]


def predict_stage(
    stage: int,
    model: str,
    adapter: Path,
    data: tuple[str, ...],
    template: str,
    device: str,
    out: Path,
    max_pixels: int = SHOWN_PIXELS,
) -> dict[str, str]:
    """Write every read-out of one stage's model on the calibration and test rows; returns the files' hashes."""
    engine = TransformersEngine(model, adapter=adapter, device=device, batch_size=96, max_new_tokens=ANSWER_TOKENS)
    hashes = {}
    for split in SPLITS:
        samples = samples_of(data, [split])
        print(f"  answering {len(samples)} pictures of split {split}", flush=True)
        question = load_template(LABEL if stage == 1 else template)
        rows = predict(samples, engine, question, method=f"stage {stage}", max_pixels=max_pixels)
        _write_responses(out / f"responses.{split}.jsonl", rows.responses)
        for name, found in (("stated", rows.verbalized), ("expected", rows.expected), ("probability", rows.logprob)):
            if found:
                path = out / f"{name}.{split}.jsonl"
                write_predictions(path, found)
                hashes[path.name] = file_hash(path)
    return hashes


def _write_responses(path: Path, responses: Sequence[Response]) -> None:
    lines = [{"id": r.sample_id, "text": r.text, "finish_reason": r.finish_reason, "error": r.error} for r in responses]
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def read_responses(path: Path) -> dict[str, str]:
    """What the model wrote, by sample id."""
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {line["id"]: line["text"] for line in lines}


def read_rows(run: Path, split: str) -> Rows:
    """All methods' rows of one split of a run, post-hoc maps included, by the names that the scorecard prints.

    Of the calibration split, the rows that stage 3 did not learn from; the maps are fitted on these.
    """
    predictions, trained = run / "predictions", read_trained_clusters(run / "3-calibrate" / ADAPTER)
    files = {
        STAGE_1: "stage-1/probability",
        STAGE_2: "stage-2/stated",
        STATED: "stage-3/stated",
        EXPECTED: "stage-3/expected",
        PROBABILITY: "stage-3/probability",
    }

    def read(name: str, split: str) -> list[Prediction]:
        rows = read_predictions(predictions / f"{files[name]}.{split}.jsonl")
        return list(rows) if split == "test" else fresh_rows(rows, trained)

    rows = {name: read(name, split) for name in files}
    fresh = read(PROBABILITY, "calibrate")
    if not fresh:
        raise UserError(f"{run}: stage 3 held out no calibration row to fit maps on; raise held_out in its recipe")
    rows[TEMPERATURE] = temperature_scaled(rows[PROBABILITY], fresh, TEMPERATURE)
    rows[ISOTONIC] = isotonic(rows[PROBABILITY], fresh, ISOTONIC)
    return rows


def judge(test: Rows, calibration: Rows) -> Scorecard:
    """The scorecard of a run: what stage 3 states is compared with every other method and with its floors."""
    return build_scorecard(test, calibration=calibration, subject=STATED)


def chosen(rows: Rows, task: str, group: str | None = None) -> Rows:
    """Each method's rows of one task, and of one group where it is given."""
    return {
        name: [row for row in found if row.task == task and group in (None, row.group)] for name, found in rows.items()
    }
