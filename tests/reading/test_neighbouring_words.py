"""A word is read as the candidate of its root, never as a candidate that it merely resembles; and a number belongs to
the name that it stands beside."""

import pytest

from emocaliber.reading import read_response

GOEMOTIONS = (
    "admiration", "anger", "annoyance",
    "confusion", "curiosity", "disappointment", "embarrassment", "fear", "gratitude",
    "grief", "joy", "love", "nervousness", "optimism", "pride", "relief", "remorse", "sadness", "surprise", "neutral",
)  # fmt: skip
EKMAN = ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
FOUR = ("joy", "anger", "fear", "love")


@pytest.mark.parametrize(
    ("word", "label"),
    [
        ("grateful", "gratitude"), ("curious", "curiosity"), ("grieving", "grief"), ("proud", "pride"),
        ("saddened", "sadness"), ("joyous", "joy"), ("nervous", "nervousness"), ("Relieved", "relief"),
        ("disappointed", "disappointment"), ("neutrality", "neutral"), ("admiring", "admiration"),
    ],
)  # fmt: skip
def test_an_inflected_word_names_the_candidate_of_its_root(word: str, label: str) -> None:
    reading = read_response(f"Emotion: {word}\nConfidence: 0.7", GOEMOTIONS)
    assert (reading.label, reading.confidence) == (label, 0.7)


@pytest.mark.parametrize("word", ["curious", "tearful", "madness", "sacred", "related"])
def test_another_word_that_resembles_a_name_is_no_misspelling_of_it(word: str) -> None:
    assert read_response(f"Emotion: {word}\nConfidence: 0.7", EKMAN).label is None


@pytest.mark.parametrize("word", ["suprise", "surprize", "hapiness", "disgsut", "saddness"])
def test_a_misspelling_is_still_read(word: str) -> None:
    assert read_response(f"Emotion: {word}\nConfidence: 0.7", EKMAN).label is not None


@pytest.mark.parametrize(
    "text",
    [
        "joy 0.3 anger 0.4 fear 0.3",
        "joy: 30% anger: 40% fear: 30%",
        "30% joy 40% anger 30% fear",
        "I see joy with 30%, anger with 40%, and fear with 30%.",
    ],
)
def test_a_number_between_two_names_belongs_to_the_side_that_the_sentence_keeps_to(text: str) -> None:
    reading = read_response(text, FOUR)
    assert (reading.label, reading.confidence) == ("anger", 0.4)
    assert reading.distribution == {"joy": 0.3, "anger": 0.4, "fear": 0.3}


def test_certainty_of_one_label_and_chance_of_another_are_shares() -> None:
    reading = read_response("I'm 90% sure it's joy, though there's a 10% chance it's love.", FOUR)
    assert reading.distribution == {"joy": 0.9, "love": 0.1}


def test_a_marked_emotion_counts_before_a_marked_facial_expression() -> None:
    reading = read_response("Facial expression: neutral\nOverall emotion: fear\nConfidence: 0.6", EKMAN)
    assert (reading.label, reading.confidence) == ("fear", 0.6)


@pytest.mark.parametrize(
    "text", ["我认为是悲伤，有九成把握。", "我有90%的把握认为是悲伤。", "不是快乐，而是悲伤。置信度0.9"]
)
def test_chinese_sentences_state_their_confidence(text: str) -> None:
    reading = read_response(text, ("悲伤", "快乐", "愤怒"))
    assert (reading.label, reading.confidence) == ("悲伤", 0.9)
