"""Templates: short where they are trained, exact in what they write, stable in their hash."""

import re
from pathlib import Path

import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import (
    LEVEL_TEXTS,
    LEVELS,
    Template,
    load_template,
    messages,
    template_names,
    template_of,
)

CANDIDATES = ("happy", "sad", "very angry")
HASHES = {
    "one-candidate": "c3d72309f3dcfa79",
    "p-true": "02aa8c301f14980d",
    "turned": "6427b8877d6a7ff7",
    "relative": "3817148b223973a0",
    "distribution": "8d5f2a886553747d",
    "json": "4c9fedcb8bf4dbe7",
    "label": "0c9edc12b27cd220",
    "label-confidence": "00be620ad26ba1c1",
    "question": "7e7fa4c5c1e5b614",
    "reasoning": "6b320ddc9994fb72",
    "reasoning-label": "fb14329310be0266",
    "self-report-answer": "1fdf31ca5d7d27f1",
    "self-report-confidence": "aa58cd3b3780c0ea",
    "top-1": "3d9f54f3d3ed91fe",
    "top-k": "928b6213d8b91d29",
}


def test_every_template_loads_and_names_its_candidates() -> None:
    assert {"label", "label-confidence", "reasoning", "distribution", "top-1", "top-k"} <= set(template_names())
    for name in template_names():
        assert "{candidates}" in load_template(name).prompt


def test_trained_completions_are_exactly_these_characters() -> None:
    assert load_template("label").write(label="happy") == "<answer>happy</answer>"
    stated = load_template("label-confidence").write(label="happy", confidence=0.85)
    assert stated == "<answer>happy</answer><confidence>0.85</confidence>"


def test_a_distribution_is_written_in_its_own_order_with_two_decimals() -> None:
    text = load_template("distribution").write(distribution={"sad": 0.25, "happy": 0.75})
    assert text == "<distribution>sad 0.25, happy 0.75</distribution>"


def test_trained_prompts_are_short_and_differ_in_their_last_words_only() -> None:
    label, both = (load_template(name).prompt.replace("{candidates}", "") for name in ("label", "label-confidence"))
    assert len(both.split()) < 20
    assert both.startswith(label.removesuffix("."))


def test_rendering_replaces_candidates_once_and_never_reads_their_braces() -> None:
    template = Template("t", "Of {candidates}?", "{label}")
    assert template.render(["{label}", "{candidates}"]) == "Of {label}, {candidates}?"


def test_a_written_label_is_never_taken_for_a_field() -> None:
    assert Template("t", "", "{label}|{reasoning}").write(label="{reasoning}", reasoning="r") == "{reasoning}|r"


def test_a_second_question_needs_its_label_and_a_first_one_refuses_it() -> None:
    assert "you chose: sad" in load_template("self-report-confidence").render(CANDIDATES, label="sad")
    with pytest.raises(ValueError, match="needs the label"):
        load_template("self-report-confidence").render(CANDIDATES)
    with pytest.raises(ValueError, match="takes no label"):
        load_template("label").render(CANDIDATES, label="sad")


@pytest.mark.parametrize("confidence", [-0.01, 1.01, float("nan")])
def test_a_confidence_outside_zero_to_one_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="is not a probability"):
        load_template("label-confidence").write(label="happy", confidence=confidence)


def test_a_field_knows_its_tags() -> None:
    assert load_template("reasoning").tags("label") == ("<answer>", "</answer>")
    with pytest.raises(ValueError, match="no tags around"):
        load_template("label").tags("confidence")


def test_the_pattern_matches_exactly_what_the_template_writes() -> None:
    template = load_template("label-confidence")
    pattern = re.compile(template.pattern(CANDIDATES))
    assert all(pattern.fullmatch(template.write(label=name, confidence=0.85)) for name in CANDIDATES)
    assert not pattern.fullmatch(template.write(label="very", confidence=0.85))
    assert not pattern.fullmatch("<answer>sad</answer><confidence>0x85</confidence>")
    with pytest.raises(ValueError, match="no fixed form"):
        load_template("reasoning").pattern(CANDIDATES)


def test_missing_and_surplus_values_are_refused() -> None:
    with pytest.raises(ValueError, match="states"):
        load_template("label-confidence").write(label="happy")
    with pytest.raises(ValueError, match="states"):
        load_template("label").write(label="happy", confidence=0.5)


def test_an_unknown_template_names_the_known_ones_or_the_nearest() -> None:
    with pytest.raises(UserError, match=r"did you mean 'label-confidence'\?"):
        load_template("label-confidense")
    with pytest.raises(UserError, match=r"choose one of .*label-confidence.*path of a \.yaml file"):
        load_template("zzz")


def test_a_users_own_file_is_a_template_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text('prompt: "Which of {candidates}?"\nanswer: "Emotion: {label}. Confidence: {confidence}"\n')
    template = load_template(path)
    assert template.name == str(path)
    assert template.render(CANDIDATES) == "Which of happy, sad, very angry?"
    assert template_of(template.record, template.name) == template


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompt: '{candidates}?'\nanswr: '{label}'\n", "unknown key 'answr'; did you mean 'answer'"),
        ("prompt: '{candidates}?'\n", "answer must be a text, but is missing"),
        ("prompt: '{candidates}?'\nanswer: [1]\n", "answer must be a text, but is list"),
        (
            "prompt: '{candidate}?'\nanswer: '{label}'\n",
            r"prompt: unknown field {candidate}; did you mean {cand",
        ),
        ("prompt: 'Which?'\nanswer: '{label}'\n", r"prompt: it lacks {candidates}"),
        ("prompt: '{candidates}?'\nanswer: '{emotion}'\n", r"answer: unknown field {emotion}; it may contain {label}"),
        ("prompt: '{candidates}?'\nanswer: '{confidence}'\n", "answer: it states no label"),
        ("prompt: '{candidates}?'\nanswer: '{label} {label}'\n", r"contains {label} twice"),
        ("- a\n", "must be `key: value` lines"),
        ("prompt: {\n", "is not YAML"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"mine\.yaml.*{message}"):
        load_template(path)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UserError, match=r"nowhere/mine\.yaml cannot be read"):
        load_template("nowhere/mine.yaml")


def test_the_hashes_of_the_shipped_templates_are_those_that_responses_carry() -> None:
    hashes = {name: load_template(name).hash for name in template_names()}
    assert hashes == HASHES


def test_the_hash_depends_on_the_words_alone() -> None:
    assert Template("a", "p", "c").hash == Template("b", "p", "c").hash
    assert len({Template("a", "p", "c").hash, Template("a", "p ", "c").hash, Template("a", "p", "c ").hash}) == 3


def test_levels_are_twenty_one_steps_of_five_hundredths_as_written() -> None:
    assert LEVEL_TEXTS[0] == "0.00"
    assert LEVEL_TEXTS[-1] == "1.00"
    assert tuple(float(text) for text in LEVEL_TEXTS) == LEVELS
    assert len(LEVELS) == 21


def test_a_chat_is_one_user_turn_image_first() -> None:
    chat = messages("What?", "This.")
    assert [part["type"] for part in chat[0]["content"]] == ["image", "text"]
    assert [turn["role"] for turn in chat] == ["user", "assistant"]
