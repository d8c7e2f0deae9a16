"""The reader's policies, one row each: what counts as an answer, as a label, as a number."""

import pytest

from emocaliber.core.predictions import State
from emocaliber.reading import CONFIDENCE_WORDS, read_response

EMOTIONS = ("amusement", "awe", "contentment", "excitement", "anger", "disgust", "fear", "sadness", "joy")
OK = State.OK


def tagged(label: str, confidence: str) -> str:
    return f"<answer>{label}</answer><confidence>{confidence}</confidence>"


@pytest.mark.parametrize(
    ("text", "label", "confidence"),
    [
        (tagged("joy", "0.85"), "joy", 0.85),
        (tagged(" Joy. ", " .85 "), "joy", 0.85),
        (tagged("The emotion is awe", "85%"), "awe", 0.85),
        ("<THINK>x</think>\n<Answer>joy</ANSWER>\n<confidence>\n0.5\n</confidence>", "joy", 0.5),
        (tagged("{joy}", "{0.85}"), "joy", 0.85),
        (tagged("**joy**", "0.85"), "joy", 0.85),
        ("<confidence>0.3</confidence><answer>joy</answer>", "joy", 0.3),
        ("<answer>joy</answer> Confidence: 85%", "joy", 0.85),
        ("Emotion: joy <confidence>0.4</confidence>", "joy", 0.4),
        ("Emotion: joy. Confidence: 85%", "joy", 0.85),
        ("**Emotion:** Joy\n**Confidence:** 85%.", "joy", 0.85),
        ("Emotion: joy (confidence: 0.7)", "joy", 0.7),
        ("Final answer: fear\nProbability = 17/20", "fear", 0.85),
        ("The emotion is joy. My confidence is about 85% because 3 people smile.", "joy", 0.85),
        ("The answer is joy, I am 85% sure.", "joy", 0.85),
        ('{"emotion": "joy", "confidence": 0.85}', "joy", 0.85),
        ('Sure:\n```json\n{"label": "joy", "confidence": "85%"}\n```', "joy", 0.85),
        ('<answer>{"emotion": "joy", "confidence": 0.85}</answer>', "joy", 0.85),
        ("joy 0.85", "joy", 0.85),
        ("joy (85%)", "joy", 0.85),
        ("<answer>joy (85%)</answer>", "joy", 0.85),
    ],
)
def test_every_accepted_form_reads_alike(text: str, label: str, confidence: float) -> None:
    reading = read_response(text, EMOTIONS)
    assert (reading.label, reading.confidence, reading.state) == (label, confidence, OK)


@pytest.mark.parametrize(
    "text",
    [
        "joy 0.6, contentment 0.3, awe 0.1",
        "joy: 60%, contentment: 30%; awe: 10%.",
        "60% joy, 30% contentment, 10% awe",
        "I looked at it closely.\n\n- joy: 0.6\n- contentment: 0.3\n- awe: 0.1\n",
        "Distribution: joy 0,6, contentment 0,3, awe 0,1",
        "1. joy (0.6)\n2. contentment (0.3)\n3. awe (0.1)",
        "<distribution>joy 0.60, contentment 0.30, awe 0.10</distribution>",
        "<answer>joy 0.6, contentment 0.3, awe 0.1</answer>",
        '{"joy": 0.6, "contentment": 0.3, "awe": 0.1}',
        'Here: {"distribution": {"joy": 0.6, "contentment": 0.3, "awe": 0.1}}',
    ],
)
def test_a_verbalized_distribution_states_its_top_label(text: str) -> None:
    reading = read_response(text, EMOTIONS)
    assert reading.distribution == {"joy": 0.6, "contentment": 0.3, "awe": 0.1}
    assert (reading.label, reading.confidence, reading.state) == ("joy", 0.6, OK)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("joy 0.4, awe 0.4, fear 0.2", State.AMBIGUOUS_LABEL),
        ("joy 0.9, awe 0.9", State.OUT_OF_RANGE),
        ("joy 60, awe 40", State.OUT_OF_RANGE),
        ("joy 0.4, joy 0.2", State.AMBIGUOUS_LABEL),
        ("joy 0.4, bliss 0.2", State.UNKNOWN_LABEL),
        ("<distribution>no idea</distribution>", State.UNKNOWN_LABEL),
    ],
)
def test_an_incoherent_distribution_is_no_answer(text: str, state: State) -> None:
    assert read_response(text, EMOTIONS).state == state


def test_an_answer_beside_a_distribution_takes_its_confidence_from_it() -> None:
    reading = read_response("<answer>awe</answer><distribution>joy 0.6, awe 0.4</distribution>", EMOTIONS)
    assert (reading.label, reading.confidence) == ("awe", 0.4)


@pytest.mark.parametrize(
    ("answer", "candidates", "expected"),
    [
        ("danger", ("anger",), State.UNKNOWN_LABEL),
        ("enjoy", ("joy",), State.UNKNOWN_LABEL),
        ("encourage", ("rage",), State.UNKNOWN_LABEL),
        ("illustrate", ("lust",), State.UNKNOWN_LABEL),
        ("awesome", ("awe",), State.UNKNOWN_LABEL),
        ("non-happy", ("happy",), State.UNKNOWN_LABEL),
        ("joy_", ("joy",), "joy"),
        ("JOY", ("joy",), "joy"),
        ("ｊｏｙ", ("joy",), "joy"),
        ("Straße", ("STRASSE",), "STRASSE"),
        ("very  angry", ("angry", "very angry"), "very angry"),
        ("very-angry", ("angry", "very angry"), "very angry"),
        ("joy, joy!", ("joy", "awe"), "joy"),
        ("joy or awe", ("joy", "awe"), State.AMBIGUOUS_LABEL),
        ("not joy", ("joy", "awe"), State.AMBIGUOUS_LABEL),
        ("it isn't joy", ("joy", "awe"), State.AMBIGUOUS_LABEL),
        ("joyful", ("joy", "awe"), State.UNKNOWN_LABEL),
        ("bliss", ("joy", "awe"), State.UNKNOWN_LABEL),
        (" . ", ("joy",), State.MISSING_LABEL),
        ("joy", (), State.UNKNOWN_LABEL),
        ("joy", ("Joy", "joy"), State.AMBIGUOUS_LABEL),
    ],
)
def test_a_label_is_a_complete_word(answer: str, candidates: tuple[str, ...], expected: str) -> None:
    reading = read_response(tagged(answer, "0.5"), candidates)
    assert (reading.state if reading.label is None else reading.label) == expected


def test_inflections_count_only_where_declared() -> None:
    assert read_response("<answer>joyful</answer>", ("joy", "awe"), synonyms={"joyful": "joy"}).label == "joy"
    assert read_response("<answer>joyful, joy</answer>", ("joy", "awe"), synonyms={"joyful": "joy"}).label == "joy"
    assert read_response("<answer>joyful</answer>", ("awe",), synonyms={"joyful": "joy"}).label is None


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("0.85", 0.85),
        (".85", 0.85),
        ("85%", 0.85),
        ("85 %", 0.85),
        ("85 percent", 0.85),
        ("85/100", 0.85),
        ("17/20", 0.85),
        ("8.5/10", 0.85),
        ("85 out of 100", 0.85),
        ("0,85", 0.85),
        ("85,5%", 0.855),
        ("~85%", 0.85),
        ("approximately 0.85", 0.85),
        ("+0.85", 0.85),
        ("1", 1.0),
        ("0", 0.0),
        ("1.0", 1.0),
        ("-0.0", 0.0),
        ("1%", 0.01),
        ("1/10", 0.1),
        ("0.58", 58 / 100),
        ("85", State.OUT_OF_RANGE),
        ("2", State.OUT_OF_RANGE),
        ("1.01", State.OUT_OF_RANGE),
        ("-0.5", State.OUT_OF_RANGE),
        ("150%", State.OUT_OF_RANGE),
        ("7/5", State.OUT_OF_RANGE),
        ("7/0", State.NOT_A_NUMBER),
        ("nan", State.NOT_A_NUMBER),
        ("inf", State.NOT_A_NUMBER),
        ("1e-3", 0.001),
        ("0.8_5", State.NOT_A_NUMBER),
        ("０.８５", 0.85),
        ("0.8５", State.NOT_A_NUMBER),
        ("0.8.5", State.NOT_A_NUMBER),
        ("1,000", State.NOT_A_NUMBER),
        ("8,5", State.NOT_A_NUMBER),
        ("0.8-0.9", State.NOT_A_NUMBER),
        ("0.8 or 0.9", State.NOT_A_NUMBER),
        ("85%%", State.NOT_A_NUMBER),
        ("0.85 (high)", 0.85),
        ("0.85 (low)", State.NOT_A_NUMBER),
        ("0." + "8" * 300, State.NOT_A_NUMBER),
        ("very confident", State.NOT_A_NUMBER),
        ("", State.MISSING_CONFIDENCE),
        (" ", State.MISSING_CONFIDENCE),
    ],
)
def test_numbers_follow_the_strict_grammar(stated: str, expected: float | State) -> None:
    reading = read_response(tagged("joy", stated), EMOTIONS)
    assert reading.label == "joy"
    if isinstance(expected, State):
        assert (reading.confidence, reading.state) == (None, expected)
    else:
        assert reading.confidence == pytest.approx(expected, abs=1e-12)
        assert reading.state == OK


@pytest.mark.parametrize("words", ["Confidence: 0.8 to 0.9", "Confidence: 0.8–0.9", "Confidence: high"])
def test_prose_without_a_single_number_is_not_a_number(words: str) -> None:
    assert read_response(f"Emotion: joy\n{words}", EMOTIONS).state == State.NOT_A_NUMBER


def test_words_count_only_by_the_table_and_are_marked() -> None:
    text = tagged("joy", "Very confident")
    assert read_response(text, EMOTIONS).state == State.NOT_A_NUMBER
    reading = read_response(text, EMOTIONS, words=CONFIDENCE_WORDS)
    assert (reading.confidence, reading.state, reading.worded) == (0.9, OK, True)
    assert not read_response(tagged("joy", "0.9"), EMOTIONS, words=CONFIDENCE_WORDS).worded


@pytest.mark.parametrize(
    ("text", "label", "confidence"),
    [
        ("<think>It says <answer>awe</answer><confidence>1.0</confidence></think>" + tagged("joy", "0.4"), "joy", 0.4),
        ("It could be awe.</think>" + tagged("joy", "0.4"), "joy", 0.4),
        (tagged("awe", "0.9") + " On second thought: " + tagged("joy", "0.4"), "joy", 0.4),
        (tagged("joy", "0.4") + "<answer>aw", "joy", 0.4),
        ("<answer>" * 50 + tagged("joy", "0.4") + "</answer>" * 50, "joy", 0.4),
        ("Emotion: awe. Confidence: 90%\nNo. Emotion: joy. Confidence: 40%", "joy", 0.4),
        ("<think><element>awe</element><analysis>fear</analysis></think>" + tagged("joy", "0.4"), "joy", 0.4),
    ],
)
def test_only_the_final_answer_counts(text: str, label: str, confidence: float) -> None:
    reading = read_response(text, EMOTIONS)
    assert (reading.label, reading.confidence, reading.state) == (label, confidence, OK)


@pytest.mark.parametrize(
    ("text", "label", "state"),
    [
        ("", None, State.EMPTY),
        (" \n ", None, State.EMPTY),
        ("<think>awe <answer>awe</answer><confidence>1.0</confidence>", None, State.MISSING_LABEL),
        (tagged("awe", "0.9") + "<think>hm", None, State.MISSING_LABEL),
        ("I see a dog.", None, State.MISSING_LABEL),
        ("The picture shows joy all over, and some fear.", None, State.MISSING_LABEL),
        ("<answer></answer><confidence></confidence>", None, State.MISSING_LABEL),
        ("<answer>joy</answer>", "joy", State.MISSING_CONFIDENCE),
        ("joy", "joy", State.MISSING_CONFIDENCE),
        ("It is late.\nJoy.", "joy", State.MISSING_CONFIDENCE),
        ("<answer>joy</answer><confidence>0.8", "joy", State.MISSING_CONFIDENCE),
        (tagged("awe", "0.9") + "<answer>joy</answer>", "joy", State.MISSING_CONFIDENCE),
        ("<answer>the sign says <confidence>1.0</confidence> joy</answer>", "joy", State.MISSING_CONFIDENCE),
    ],
)
def test_what_is_missing_has_its_state(text: str, label: str | None, state: State) -> None:
    reading = read_response(text, EMOTIONS)
    assert (reading.label, reading.confidence, reading.state) == (label, None, state)


@pytest.mark.parametrize(
    ("text", "label", "state"),
    [
        ("", None, State.TRUNCATED),
        ("<think>well", None, State.TRUNCATED),
        ("<answer>joy</answer><confidence>0.8", "joy", State.TRUNCATED),
        ("Emotion: joy\nConfidence: 0.8", "joy", State.TRUNCATED),
        ("jo", None, State.TRUNCATED),
        (tagged("joy", "0.8") + " and so on", "joy", OK),
        ("<answer>bliss</answer><confidence>0.8", None, State.UNKNOWN_LABEL),
    ],
)
def test_a_response_cut_by_its_length_never_yields_half_an_answer(text: str, label: str | None, state: State) -> None:
    reading = read_response(text, EMOTIONS, finish_reason="length")
    assert (reading.label, reading.state) == (label, state)


def test_a_failed_request_keeps_its_state_whatever_the_text() -> None:
    for state in (State.ENGINE_ERROR, State.IMAGE_ERROR):
        assert read_response(tagged("joy", "0.8"), EMOTIONS, finish_reason=state.value).state == state


def test_an_unreadable_label_keeps_the_stated_confidence() -> None:
    reading = read_response(tagged("bliss", "0.8"), EMOTIONS)
    assert (reading.label, reading.confidence, reading.state) == (None, 0.8, State.UNKNOWN_LABEL)


def test_a_repeated_key_with_two_labels_is_ambiguous() -> None:
    text = '{"emotion": "joy", "emotion": "awe", "confidence": 0.5}'
    assert read_response(text, EMOTIONS).state == State.AMBIGUOUS_LABEL


@pytest.mark.parametrize("opening", ["If I had to choose, I would say:", "If forced to choose, my answer would be:"])
def test_what_a_model_says_when_it_has_to_choose_is_its_answer(opening: str) -> None:
    reading = read_response(f"{opening}\nEmotion: joy\nConfidence: 0.7", ["joy", "fear"])
    assert (reading.label, reading.confidence) == ("joy", 0.7)


def test_the_form_of_an_answer_that_is_only_supposed_is_none() -> None:
    text = "I see no face. If there were one, I would reply in this form:\n\nEmotion: joy\nConfidence: 0.9"
    assert read_response(text, ["joy", "fear"]).label is None


@pytest.mark.parametrize(("finish", "label"), [("stop", "joy"), (None, "joy"), ("length", None)])
def test_what_stands_before_reasoning_is_the_answer_only_where_none_can_follow(
    finish: str | None, label: str | None
) -> None:
    assert read_response("joy\n<think>a smile</think>", ["joy", "fear"], finish_reason=finish).label == label
