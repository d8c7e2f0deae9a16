"""From adapters to judgement: predictions of each stage on test and calibration rows, floors, scorecard.

Not a metric: `emocaliber.evaluation` computes, here rows are gathered and named.
"""

from __future__ import annotations

from pathlib import Path

from emocaliber.calibration.fit import Kind, fit_recalibrator, isotonic, temperature_scaled
from emocaliber.core.errors import UserError
from emocaliber.core.images import SHOWN_PIXELS
from emocaliber.core.predictions import Prediction, Source, read_predictions
from emocaliber.core.prompting import ANSWER_TOKENS, load_template
from emocaliber.evaluation.compute import build_scorecard
from emocaliber.evaluation.scorecard import Scorecard
from emocaliber.generation.harness import generate
from emocaliber.generation.readouts import FILES, read_records, responses_file
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.runs.resume import file_hash, samples_of
from emocaliber.stages.clusters import fresh_rows, read_trained_clusters
from emocaliber.stages.training import ADAPTER

SPLITS = ("calibrate", "test")
STAGE_1 = "stage 1, label probability"
STAGE_2 = "stage 2, stated"
STATED = "stage 3, stated"
EXPECTED = "stage 3, mean over levels"
PROBABILITY = "stage 3, label probability"
TEMPERATURE = "stage 3, temperature-scaled"
ISOTONIC = "stage 3, isotonic"
MATRIX = "stage 3, matrix-scaled"
VENN_ABERS = "stage 3, Venn-Abers"
POST_HOC = (TEMPERATURE, ISOTONIC, MATRIX, VENN_ABERS)
"""The maps of the label probability, fitted on fresh rows: what is stated is held against the best of them."""


Rows = dict[str, list[Prediction]]


READ_OUTS = {"stated": Source.VERBALIZED, "expected": Source.EXPECTED, "probability": Source.LOGPROB}
"""The prediction files of a stage, by the start of their names."""


def predict_stage(
    stage: int,
    model: str,
    adapter: Path,
    data: tuple[str, ...],
    template: str,
    device: str,
    out: Path,
    max_pixels: int = SHOWN_PIXELS,
    max_answer_tokens: int = ANSWER_TOKENS,
) -> dict[str, str]:
    """Write every read-out of one stage's model on the calibration and test rows; returns the files' hashes.

    Responses and journal are in `out/answers`; after a stop, only missing answers are generated.
    """
    engine = TransformersEngine(model, adapter=adapter, device=device, batch_size=96, max_new_tokens=max_answer_tokens)
    prompt = load_template(template)
    hashes = {}
    for split in SPLITS:
        samples = samples_of(data, [split])
        print(f"  predicting {len(samples)} samples of split {split}", flush=True)
        folder = answers_folder(out, split)
        generate(samples, engine, prompt, folder, method=f"stage {stage}", total=len(samples), max_pixels=max_pixels)
        for name, source in READ_OUTS.items():
            if (written := folder / FILES[source]).is_file():
                path = written.replace(out / f"{name}.{split}.jsonl")
                hashes[path.name] = file_hash(path)
    return hashes


def answers_folder(out: Path, split: str) -> Path:
    """Where the responses of one stage to one split are."""
    return out / "answers" / split


def read_responses(out: Path, split: str) -> dict[str, str]:
    """What the model wrote, by sample id."""
    return {record.id: record.response.text for record in read_records(responses_file(answers_folder(out, split), 0))}


def read_rows(run: Path, split: str) -> Rows:
    """The rows of all methods on one split of a run, including post-hoc maps, by the names that the scorecard prints.

    Of the calibration split, only rows that stage 3 did not learn from; the maps are fitted on these.
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
    kinds: dict[str, Kind] = {MATRIX: "matrix", VENN_ABERS: "venn-abers"}
    for method, kind in kinds.items():
        rows[method] = fit_recalibrator(fresh, "distribution", kind, per_task=True).apply(rows[PROBABILITY], method)
    return rows


def judge(test: Rows, calibration: Rows) -> Scorecard:
    """The scorecard of a run: what stage 3 states is compared with every other method and with its floors."""
    return build_scorecard(test, calibration=calibration, subject=STATED)


def chosen(rows: Rows, task: str, group: str | None = None) -> Rows:
    """Each method's rows of one task, and of one group where it is given."""
    return {name: [row for row in own if row.task == task and group in (None, row.group)] for name, own in rows.items()}
