"""The two-step self-report: two answers in one response, each read-out from the one that has its place."""

from pathlib import Path

import pytest
from PIL import Image

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Source, State
from emocaliber.core.prompting import LEVELS, load_template
from emocaliber.core.samples import Sample
from emocaliber.generation.asking_again import FollowUpEngine, combined, in_two_steps
from emocaliber.generation.engine import Request, Response
from emocaliber.generation.readouts import rows_of
from emocaliber.generation.respond import choices_of
from emocaliber.generation.transformers_engine import TransformersEngine

LABELS = ("happy", "sad", "angry")
FIRST, THEN = load_template("self-report-answer"), load_template("self-report-confidence")
NAMED = Response("1", FIRST.write(label="sad"), "stop", 4, ((-2.0, -0.5, -3.0), None))
SAMPLE = Sample("1", b"", "faces", LABELS, "sad", "test", "g", "1")


def said(text: str, finish_reason: str = "stop") -> Response:
    return Response("1", text, finish_reason, 7, (None, None))


def read(report: Response) -> tuple[str | None, float | None, State]:
    rows = rows_of(SAMPLE, combined(NAMED, report), in_two_steps(FIRST, THEN), method="m")
    row = rows[Source.VERBALIZED]
    return row.predicted, row.confidence, row.state


def test_label_and_confidence_come_from_the_two_answers() -> None:
    assert read(said(THEN.write(label="sad", confidence=0.35))) == ("sad", 0.35, State.OK)
    assert read(said("Confidence: 35%")) == ("sad", 0.35, State.OK)
    assert read(said("I cannot say.")) == ("sad", None, State.MISSING_CONFIDENCE)
    assert read(said("<answer>sad</answer><confid", "length")) == ("sad", None, State.TRUNCATED)


def test_a_changed_mind_is_the_final_answer() -> None:
    assert read(said(THEN.write(label="angry", confidence=0.9)))[0] == "angry"


def test_choices_are_those_of_the_answer_that_has_their_place() -> None:
    levels = tuple(-float(n) for n in range(len(LEVELS)))
    report = Response("1", THEN.write(label="sad", confidence=0.0), "stop", 7, ((-9.0, -9.0, -9.0), levels))
    both = combined(NAMED, report)
    assert both.choices == (NAMED.choices[0], levels)
    assert (both.tokens, both.questions) == (11, 2)


def test_an_answer_without_a_label_is_not_asked_about(random_model: Path) -> None:
    engine = FollowUpEngine(TransformersEngine(random_model, max_new_tokens=3), FIRST, THEN)
    picture = Image.new("RGB", (56, 56))
    question = Request(
        "1", picture, FIRST.render(LABELS), choices_of(in_two_steps(FIRST, THEN), LABELS), candidates=LABELS
    )
    response = engine.generate([question])[0]
    assert (response.questions, response.choices) == (1, (None, None))


def test_the_questions_cannot_be_given_the_wrong_way_round() -> None:
    with pytest.raises(UserError, match="quotes its label"):
        in_two_steps(THEN, FIRST)
    with pytest.raises(UserError, match="quotes its label"):
        in_two_steps(FIRST, FIRST)
