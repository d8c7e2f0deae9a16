"""From samples to rows: nothing is lost on the way, and each read-out says what the response holds."""

from io import BytesIO
from math import log
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emocaliber.core.predictions import Source, State
from emocaliber.core.prompting import LEVELS, load_template
from emocaliber.core.samples import FileImage, Sample
from emocaliber.generation.engine import Response
from emocaliber.generation.predict import predict, read_out
from emocaliber.generation.transformers_engine import TransformersEngine

LABELS = ("happy", "sad", "angry")
BOTH = load_template("label-confidence")


def png(side: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (side, side), "white").save(buffer, "PNG")
    return buffer.getvalue()


def sample(name: str, image: bytes | FileImage = b"") -> Sample:
    return Sample(name, image, "faces", LABELS, "happy", "test", "trained styles", name, votes={"happy": 3, "sad": 1})


def test_rows_in_are_rows_out_with_broken_images_among_them(random_model: Path, tmp_path: Path) -> None:
    images = [png(56), b"", png(56), b"no image", png(1), FileImage(tmp_path, "missing.png"), png(84)]
    samples = [sample(str(number), image) for number, image in enumerate(images)]
    rows = predict(samples, TransformersEngine(random_model, max_new_tokens=4), BOTH, method="random")
    for kind, source in ((rows.verbalized, "verbalized"), (rows.expected, "expected"), (rows.logprob, "logprob")):
        assert [row.id for row in kind] == [row.id for row in samples]
        assert {row.source for row in kind} == {Source(source)}
        broken = [row.state == State.IMAGE_ERROR for row in kind]
        assert broken == [False, True, False, True, True, True, False]
    assert all(response.error for response in rows.responses if response.finish_reason == State.IMAGE_ERROR)


def test_the_readouts_of_a_response_are_its_own_numbers() -> None:
    level_logs = tuple(log(0.75) if level == 0.8 else log(0.25) if level == 0.4 else -1000.0 for level in LEVELS)
    response = Response(
        "1", BOTH.write(label="sad", confidence=0.8), "stop", 7, ((log(0.1), log(0.3), log(0.1)), level_logs)
    )
    rows = read_out([sample("1")], [response], BOTH, method="m")
    stated, expected, logprob = rows.verbalized[0], rows.expected[0], rows.logprob[0]
    assert (stated.predicted, stated.confidence, stated.state) == ("sad", 0.8, State.OK)
    assert stated.probability == pytest.approx(0.6)
    assert (expected.predicted, expected.confidence) == ("sad", pytest.approx(0.7))
    assert (logprob.predicted, logprob.confidence) == ("sad", pytest.approx(0.6))
    assert logprob.distribution == pytest.approx({"happy": 0.2, "sad": 0.6, "angry": 0.2})
    assert (stated.truth, stated.votes, stated.group) == ("happy", {"happy": 3, "sad": 1}, "trained styles")


def test_a_response_without_its_confidence_has_no_expected_one() -> None:
    response = Response("1", "<answer>sad</answer>", "stop", 4, ((-1.0, -1.0, -1.0), None))
    rows = read_out([sample("1")], [response], BOTH, method="m")
    assert (rows.expected[0].predicted, rows.expected[0].confidence) == ("sad", None)
    assert rows.expected[0].state == State.MISSING_CONFIDENCE
    assert rows.logprob[0].state == State.OK


def test_a_label_only_template_states_no_confidence() -> None:
    response = Response("1", "<answer>sad</answer>", "stop", 4, ((-1.0, -1.0, -1.0),))
    rows = read_out([sample("1")], [response], load_template("label"), method="m")
    assert (rows.verbalized, rows.expected, len(rows.logprob)) == ([], [], 1)


def test_responses_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="belongs"):
        read_out([sample("1")], [Response("2", "", "stop")], BOTH, method="m")
    with pytest.raises(ValueError, match="shorter"):
        read_out([sample("1"), sample("2")], [Response("1", "", "stop")], BOTH, method="m")


def test_the_share_of_the_chosen_label_is_finite_for_any_log_probabilities() -> None:
    response = Response("1", "<answer>sad</answer>", "stop", 4, ((-5000.0, -9000.0, -5000.0),))
    row = read_out([sample("1")], [response], load_template("label"), method="m").logprob[0]
    assert row.confidence == pytest.approx(0.5)
    assert np.isfinite(list((row.distribution or {}).values())).all()
