"""From samples to rows: nothing is lost on the way, and each read-out says what the response holds."""

from dataclasses import replace
from io import BytesIO
from math import log
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emocaliber.core.predictions import Prediction, Source, State
from emocaliber.core.prompting import LEVELS, Template, load_template
from emocaliber.core.samples import FileImage, Sample
from emocaliber.generation.engine import Response
from emocaliber.generation.readouts import Record, consistency_rows, rows_of
from emocaliber.generation.transformers_engine import TransformersEngine
from tests.generation.conftest import rows_in_memory

LABELS = ("happy", "sad", "angry")
BOTH = load_template("label-confidence")


def png(side: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (side, side), "white").save(buffer, "PNG")
    return buffer.getvalue()


def sample(name: str, image: bytes | FileImage = b"") -> Sample:
    return Sample(name, image, "faces", LABELS, "happy", "test", "trained styles", name, votes={"happy": 3, "sad": 1})


def rows_out(text: str, choices: tuple[tuple[float, ...] | None, ...], template: Template) -> dict[Source, Prediction]:
    return rows_of(sample("1"), Response("1", text, "stop", 7, choices), template, method="m")


def test_rows_in_are_rows_out_with_broken_images_among_them(random_model: Path, tmp_path: Path) -> None:
    images = [png(56), b"", png(56), b"no image", png(1), FileImage(tmp_path, "missing.png"), png(84)]
    samples = [sample(str(number), image) for number, image in enumerate(images)]
    rows = rows_in_memory(samples, TransformersEngine(random_model, max_new_tokens=4), BOTH)
    for source in (Source.VERBALIZED, Source.EXPECTED, Source.LOGPROB):
        assert [row[source].id for row in rows] == [row.id for row in samples]
        assert {row[source].source for row in rows} == {source}
        broken = [row[source].state == State.IMAGE_ERROR for row in rows]
        assert broken == [False, True, False, True, True, True, False]


def test_the_readouts_of_a_response_are_its_own_numbers() -> None:
    level_logs = tuple(log(0.75) if level == 0.8 else log(0.25) if level == 0.4 else -1000.0 for level in LEVELS)
    choices = ((log(0.1), log(0.3), log(0.1)), level_logs)
    rows = rows_out(BOTH.write(label="sad", confidence=0.8), choices, BOTH)
    stated, expected, logprob = rows[Source.VERBALIZED], rows[Source.EXPECTED], rows[Source.LOGPROB]
    assert (stated.predicted, stated.confidence, stated.state) == ("sad", 0.8, State.OK)
    assert stated.probability == pytest.approx(0.6)
    assert (expected.predicted, expected.confidence) == ("sad", pytest.approx(0.7))
    assert (logprob.predicted, logprob.confidence) == ("sad", pytest.approx(0.6))
    assert logprob.distribution == pytest.approx({"happy": 0.2, "sad": 0.6, "angry": 0.2})
    assert (stated.truth, stated.votes, stated.group) == ("happy", {"happy": 3, "sad": 1}, "trained styles")


def test_a_response_without_its_confidence_has_no_expected_one() -> None:
    rows = rows_out("<answer>sad</answer>", ((-1.0, -1.0, -1.0), None), BOTH)
    expected = rows[Source.EXPECTED]
    assert (expected.predicted, expected.confidence) == ("sad", None)
    assert expected.state == State.MISSING_CONFIDENCE
    assert rows[Source.LOGPROB].state == State.OK


def test_a_label_only_template_states_no_confidence() -> None:
    rows = rows_out("<answer>sad</answer>", ((-1.0, -1.0, -1.0),), load_template("label"))
    assert set(rows) == {Source.LOGPROB}


def test_a_sample_without_a_label_has_its_rows_without_a_truth() -> None:
    unlabelled = replace(sample("1"), label=None)
    response = Response("1", BOTH.write(label="sad", confidence=0.8), "stop")
    assert [row.truth for row in rows_of(unlabelled, response, BOTH, method="m").values()] == [None] * 3


def test_the_share_of_the_chosen_label_is_finite_for_any_log_probabilities() -> None:
    row = rows_out("<answer>sad</answer>", ((-5000.0, -9000.0, -5000.0),), load_template("label"))[Source.LOGPROB]
    assert row.confidence == pytest.approx(0.5)
    assert np.isfinite(list((row.distribution or {}).values())).all()


def votes(*answers: str, weighted: bool) -> Prediction:
    draws = [[Record.of(sample("1"), Response("1", text, "stop", 7), BOTH.hash)] for text in answers]
    return next(consistency_rows(draws, "m", weighted=weighted))


def test_of_several_draws_the_surer_label_wins_by_weight_and_the_commoner_by_count() -> None:
    answers = [BOTH.write(label="sad", confidence=0.9), *[BOTH.write(label="happy", confidence=0.2)] * 2]
    counted, weighted = votes(*answers, weighted=False), votes(*answers, weighted=True)
    assert (counted.predicted, counted.confidence) == ("happy", pytest.approx(2 / 3))
    assert (weighted.predicted, weighted.confidence) == ("sad", pytest.approx(0.9 / 1.3))
    assert (weighted.questions, weighted.tokens) == (3, 21)


def test_silence_never_raises_a_share_and_draws_that_are_sure_of_nothing_count_alike() -> None:
    assert votes(BOTH.write(label="sad", confidence=0.5), "…", weighted=True).confidence == pytest.approx(1 / 3)
    unsure = votes(*[BOTH.write(label="sad", confidence=0.0)] * 2, weighted=True)
    assert (unsure.predicted, unsure.confidence, unsure.state) == ("sad", 1.0, State.OK)
