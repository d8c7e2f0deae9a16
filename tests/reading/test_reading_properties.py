"""The reader's promises over all texts: total, pure, linear, and the exact inverse of what the templates write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emocaliber.core.predictions import State
from emocaliber.core.prompting import LEVELS, load_template
from emocaliber.core.taxonomy import KAOMOJI_10
from emocaliber.reading import read_response
from emocaliber.reading.final import LONGEST_FINAL

LABELS = KAOMOJI_10.labels
TAGS = [f"<{slash}{name}>" for name in ("answer", "confidence", "think", "distribution") for slash in ("", "/")]
PIECES = [
    *TAGS,
    "happy",
    "sad",
    "0.85",
    "85%",
    "Emotion:",
    "Confidence:",
    "{",
    "}",
    '"emotion"',
    "1/0",
    "not",
    *":,.\n ",
]
TEXTS = st.one_of(st.text(), st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3))).map("".join))
FINISH = st.sampled_from([None, "stop", "length", "engine error", "image error", "other"])
STATED = ["label-confidence", "top-1", "self-report-confidence"]


@given(TEXTS, st.lists(st.text(max_size=6), max_size=4), FINISH)
def test_total_and_honest_for_every_text(text: str, candidates: list[str], finish: str | None) -> None:
    reading = read_response(text, candidates, finish_reason=finish)
    assert reading == read_response(text, candidates, finish_reason=finish)
    assert reading.label is None or reading.label in candidates
    assert reading.confidence is None or 0.0 <= reading.confidence <= 1.0
    assert (reading.state == State.OK) == (reading.label is not None and reading.confidence is not None)


@given(TEXTS, FINISH)
def test_reasoning_never_changes_the_answer(reasoning: str, finish: str | None) -> None:
    answer = load_template("label-confidence").write(label="shy", confidence=0.35)
    text = f"<think>{reasoning}</think>{answer}"
    assert read_response(text, LABELS) == read_response(answer, LABELS)


@given(st.sampled_from(STATED), st.sampled_from(LABELS), st.sampled_from(LEVELS))
def test_what_a_template_states_is_read_back_exactly(name: str, label: str, confidence: float) -> None:
    reading = read_response(load_template(name).write(label=label, confidence=confidence), LABELS)
    assert (reading.label, reading.confidence, reading.state) == (label, confidence, State.OK)


@given(st.sampled_from(LABELS), st.integers(0, 100), TEXTS)
def test_reasoned_answers_are_read_back_exactly(label: str, percent: int, reasoning: str) -> None:
    text = load_template("reasoning").write(label=label, confidence=percent / 100, reasoning=reasoning)
    reading = read_response(text, LABELS, finish_reason="stop")
    assert (reading.label, reading.confidence, reading.state) == (label, percent / 100, State.OK)


@given(st.lists(st.integers(0, 100), min_size=10, max_size=10).filter(any))
def test_distributions_are_read_back_as_written(weights: list[int]) -> None:
    shares = {label: round(weight / sum(weights), 2) for label, weight in zip(LABELS, weights, strict=True)}
    for name in ("distribution", "top-k"):
        reading = read_response(load_template(name).write(distribution=shares), LABELS)
        assert reading.distribution == shares
        top = [label for label, share in shares.items() if share == max(shares.values())]
        assert (reading.label, reading.state) == (
            (top[0], State.OK) if len(top) == 1 else (None, State.AMBIGUOUS_LABEL)
        )


@given(st.sampled_from(LABELS))
def test_a_label_only_answer_gives_the_label(label: str) -> None:
    for name in ("label", "self-report-answer"):
        reading = read_response(load_template(name).write(label=label), LABELS)
        assert (reading.label, reading.state) == (label, State.MISSING_CONFIDENCE)


PREFIXES = ["", "<answer>", "<distribution>", "Emotion: ", "happy "]


@pytest.mark.slow
@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("piece", PIECES)
def test_a_megabyte_of_one_piece_is_read_to_its_end(piece: str, prefix: str) -> None:
    """scripts/fuzz_reading.py measures how time grows; a quadratic reader would simply not come back from this."""
    reading = read_response(prefix + piece * (1_000_000 // len(piece)) + prefix.replace("<", "</"), LABELS)
    assert (reading.state == State.OK) == (reading.label is not None and reading.confidence is not None)


def test_of_a_long_text_both_ends_are_read_and_no_number_is_halved() -> None:
    reading = read_response("The face is level. " * 60_000 + "\nEmotion: shy\nConfidence: 0.85", LABELS)
    assert (reading.label, reading.confidence) == ("shy", 0.85)
    for shift in range(8):
        answer = "Emotion: shy Confidence: 0.85"
        text = " " * (LONGEST_FINAL // 2 - len(answer) + shift) + answer + " and so on" * 20_000
        assert read_response(text.replace(" ", ".", 1), LABELS).confidence in (None, 0.85)
