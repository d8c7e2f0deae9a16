"""From adapters to judgement: predictions of each stage on test and calibration rows, floors, scorecard.

Not a metric: `emocaliber.evaluation` computes, here rows are gathered and named.
"""

from __future__ import annotations

from pathlib import Path

from emocaliber.baselines.posthoc import isotonic, temperature_scaled
from emocaliber.evaluation.build import build_scorecard
from emocaliber.evaluation.scorecard import Scorecard
from emocaliber.generation.predict import predict
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.pipeline.steps import file_hash
from emocaliber.pipeline.teaching import LABEL, samples_of
from emocaliber.prediction_files import read_predictions, write_predictions
from emocaliber.predictions import Prediction
from emocaliber.prompting import load_template

SPLITS = ("calibrate", "test")
STAGE_1 = "stage 1, label probability"
STAGE_2 = "stage 2, stated"
STATED = "stage 3, stated"
EXPECTED = "stage 3, mean over levels"
PROBABILITY = "stage 3, label probability"
TEMPERATURE = "stage 3, temperature-scaled"
ISOTONIC = "stage 3, isotonic"


def predict_stage(
    stage: int, model: str, adapter: Path, data: tuple[str, ...], template: str, out: Path
) -> dict[str, str]:
    """Write every read-out of one stage's model on the calibration and test rows; returns the files' hashes."""
    engine = TransformersEngine(model, adapter=adapter, batch_size=96, max_new_tokens=12)
    hashes = {}
    for split in SPLITS:
        samples = samples_of(data, [split])
        print(f"  answering {len(samples)} pictures of split {split}", flush=True)
        rows = predict(samples, engine, load_template(LABEL if stage == 1 else template), method=f"stage {stage}")
        for name, found in (("stated", rows.verbalized), ("expected", rows.expected), ("probability", rows.logprob)):
            if found:
                path = out / f"{name}.{split}.jsonl"
                write_predictions(path, found)
                hashes[path.name] = file_hash(path)
    return hashes


def read_rows(predictions: Path, split: str) -> dict[str, list[Prediction]]:
    """All methods' rows of one split, post-hoc maps included, by the names that the scorecard prints."""
    files = {
        STAGE_1: "stage-1/probability",
        STAGE_2: "stage-2/stated",
        STATED: "stage-3/stated",
        EXPECTED: "stage-3/expected",
        PROBABILITY: "stage-3/probability",
    }
    rows = {name: list(read_predictions(predictions / f"{path}.{split}.jsonl")) for name, path in files.items()}
    held = list(read_predictions(predictions / "stage-3/probability.calibrate.jsonl"))
    rows[TEMPERATURE] = temperature_scaled(rows[PROBABILITY], held, TEMPERATURE)
    rows[ISOTONIC] = isotonic(rows[PROBABILITY], held, ISOTONIC)
    return rows


def judge(predictions: Path) -> Scorecard:
    """The scorecard over all methods of a run."""
    return build_scorecard(
        read_rows(predictions, "test"),
        calibration=read_rows(predictions, "calibrate"),
        on_progress=lambda text: print(f"  {text}", flush=True),
    )
