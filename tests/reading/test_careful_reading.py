"""The texts of eval/benchmarks/reading_texts.jsonl: none is read wrongly without a sign, and hardly any is lost."""

from collections import Counter

import pytest

from emocaliber.reading import REASONING_TAGS, add_reasoning_tags, read_response
from eval.benchmarks.reading import Line, ours, texts, verdict

LINES = texts()
KINDS = list(dict.fromkeys(line.kind for line in LINES))


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_of_any_kind_is_silently_read_wrongly(kind: str) -> None:
    wrong = [line for line in LINES if line.kind == kind and verdict(line, ours(line)) == "silently wrong"]
    assert wrong == []


def test_of_all_texts_at_least_98_in_100_are_read_rightly() -> None:
    assert len(LINES) >= 400
    counts = Counter(verdict(line, ours(line)) for line in LINES)
    assert counts["right"] >= 0.98 * len(LINES)


def test_the_count_of_wrong_readings_is_no_empty_promise() -> None:
    line = Line("k", "", [("fear", None), ("fear", 0.1)])
    assert [verdict(line, read) for read in ((None, None), ("fear", 1.0), ("joy", None), ("fear", 0.1))] == [
        "lost",
        "silently wrong",
        "silently wrong",
        "right",
    ]


def test_reasoning_under_a_users_own_name_is_taken_off_once_it_is_in_the_table() -> None:
    text = "((Emotion: fear. Confidence: 0.9))\nhappiness (85%)"
    before = read_response(text, ["fear", "happiness"])
    add_reasoning_tags([("((", "))"), ("((", "))")])
    try:
        after = read_response(text, ["fear", "happiness"])
    finally:
        REASONING_TAGS.pop()
    assert before.label != "happiness"
    assert (after.label, after.confidence) == ("happiness", 0.85)
    assert read_response(text, ["fear", "happiness"]) == before
