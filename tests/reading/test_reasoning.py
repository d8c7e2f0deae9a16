"""Reasoning is what final takes off: the same tags, and never read as an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emocaliber.reading import REASONING_TAGS, STEPS, reasoning_of, reasoning_steps

PIECES = st.sampled_from([tag for pair in REASONING_TAGS[:4] for tag in pair] + ["a ", "<answer>joy</answer>"])


@pytest.mark.parametrize(("opening", "closing"), REASONING_TAGS)
def test_reasoning_is_read_under_every_name(opening: str, closing: str) -> None:
    assert reasoning_of(f"{opening} Rain. {closing}<answer>joy</answer>") == "Rain."


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        ("<answer>joy</answer>", ""),
        ("<think>It never ends", "It never ends"),
        ("The prompt opened it.</think><answer>joy</answer>", "The prompt opened it."),
        ("<think>One.</think><answer>joy</answer><reflection>Two.</reflection>", "One.\nTwo."),
        ("<think><analysis>In it.</analysis> After.</think>", "<analysis>In it.</analysis> After."),
        ("<Thinking>Any case.</THINKING>", "Any case."),
    ],
)
def test_reasoning_is_what_stands_in_its_tags(text: str, reasoning: str) -> None:
    assert reasoning_of(text) == reasoning


@given(st.lists(PIECES, max_size=12).map("".join))
def test_what_is_read_of_any_text_is_a_part_of_it(text: str) -> None:
    assert all(part in text for part in reasoning_of(text).split("\n"))


def test_the_five_steps_are_found_in_any_order_and_a_broken_one_is_not() -> None:
    text = "".join(f"<{name}> {name}. </{name}>" for name in reversed(STEPS))
    assert reasoning_steps(text) == {name: f"{name}." for name in reversed(STEPS)}
    assert reasoning_steps("<element>Rain.<human>Nobody.</human>") == {"human": "Nobody."}
    assert reasoning_steps("No steps.") == {}
