"""Promise: rows in = rows out. A broken image, an unreadable answer and a failed request keep their row and state, and
refusing to state a confidence never improves a score."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from msgspec import structs

from emocaliber.core.predictions import Prediction, Source, State, read_predictions, write_predictions
from emocaliber.core.prompting import load_template
from emocaliber.data.embedded import load
from emocaliber.evaluation.compute import DEFAULTS, build_scorecard
from emocaliber.evaluation.metric_names import METRICS
from emocaliber.generation.engine import ENGINE_ERROR, IMAGE_ERROR, LENGTH, STOP, Response
from emocaliber.generation.readouts import rows_of
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.models.location import embedded_base
from tests.generation.conftest import rows_in_memory
from tests.prediction_rows import predictions

TEMPLATE = load_template("label-confidence")
SAMPLES = load("kaomoji", "test")[:8]
ANSWERS = {
    "readable": ("<answer>{label}</answer><confidence>0.80</confidence>", STOP, State.OK),
    "empty": ("", STOP, State.EMPTY),
    "cut": ("<answer>{label}</answer><confi", LENGTH, State.TRUNCATED),
    "no label": ("I cannot tell.", STOP, State.MISSING_LABEL),
    "other label": ("<answer>hungry</answer><confidence>0.80</confidence>", STOP, State.UNKNOWN_LABEL),
    "no confidence": ("<answer>{label}</answer>", STOP, State.MISSING_CONFIDENCE),
    "failed": ("", ENGINE_ERROR, State.ENGINE_ERROR),
    "broken image": ("", IMAGE_ERROR, State.IMAGE_ERROR),
}
FAST = dataclasses.replace(DEFAULTS, replicates=2)
NOT_OF_CONFIDENCE = {"label_accuracy", "mean_confidence", "alignment_rank_correlation"}
"""Of labels alone, or of the answered rows alone by definition."""


def test_every_kind_of_response_keeps_its_row_with_the_state_that_names_it(tmp_path: Path):
    responses = [
        Response(sample.id, text.format(label=sample.label), finish)
        for sample, (text, finish, _) in zip(SAMPLES, ANSWERS.values(), strict=True)
    ]
    rows = [rows_of(sample, answer, TEMPLATE, method="m") for sample, answer in zip(SAMPLES, responses, strict=True)]
    for source in (Source.VERBALIZED, Source.EXPECTED, Source.LOGPROB):
        assert [row[source].id for row in rows] == [sample.id for sample in SAMPLES]
    verbalized = [row[Source.VERBALIZED] for row in rows]
    assert [row.state for row in verbalized] == [state for _, _, state in ANSWERS.values()]
    write_predictions(tmp_path / "rows.jsonl", verbalized)
    assert list(read_predictions(tmp_path / "rows.jsonl")) == verbalized
    card = build_scorecard({"m": verbalized}, settings=FAST).method("m").find("all")
    assert (card.n, card.n_answered) == (len(SAMPLES), 1)


@pytest.mark.slow
def test_a_model_asked_about_broken_images_gives_a_row_for_each():
    broken = [
        dataclasses.replace(sample, image=image)
        for sample, image in zip(SAMPLES, (b"", b"no picture", b"\x89PNG\r\n\x1a\n"), strict=False)
    ]
    samples = [broken[0], SAMPLES[3], broken[1], SAMPLES[4], broken[2]]
    adapter = embedded_base().with_name("tiny-adapter")
    engine = TransformersEngine(embedded_base(), adapter=adapter, device="cpu", max_new_tokens=32)
    rows = [row[Source.VERBALIZED] for row in rows_in_memory(samples, engine, TEMPLATE)]
    assert [row.id for row in rows] == [sample.id for sample in samples]
    states = [row.state is State.IMAGE_ERROR for row in rows]
    assert states == [True, False, True, False, True]


@pytest.mark.parametrize("state", [State.MISSING_CONFIDENCE, State.EMPTY, State.ENGINE_ERROR])
def test_no_headline_score_gains_by_refusing_the_rows_that_are_wrong(state: State):
    rows = predictions(n=80)
    wrong = [row for row in rows if row.predicted != row.truth]

    def refused(row: Prediction) -> Prediction:
        return structs.replace(row, confidence=None, state=state) if row in wrong else row

    stated, silent = (
        build_scorecard({"m": own}, settings=FAST).method("m").find("all").headline
        for own in (rows, map(refused, rows))
    )
    for name in stated.keys() & silent.keys() - NOT_OF_CONFIDENCE:
        before, after = stated[name].value, silent[name].value
        if before is not None and after is not None:
            gain = after - before if METRICS[name].better == "higher" else before - after
            gain = 0.0 if METRICS[name].better == "none" else gain
            assert gain <= 1e-9, name
