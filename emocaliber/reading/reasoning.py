"""Extracting the reasoning before an answer, and EmoCaliber's five steps in it.

This is the counterpart of `final`, which removes it, with the same tags. Reasoning is never read as an answer.

    python -c "from emocaliber.reading import reasoning_of as of; print(of('<think>Rain.</think><answer>awe</answer>'))"
"""

from __future__ import annotations

import re

from emocaliber.reading.final import REASONING_TAGS, canonical, elements, final_answer, tag_pattern

STEPS = ("element", "human", "context", "interaction", "analysis")
"""The tag names of EmoCaliber's five steps (arXiv 2512.15528), in order: salient elements, people, context, their
interaction, and the conclusion about the emotion."""

_STEP_TAG = re.compile(rf"<(/?)({'|'.join(STEPS)})>", re.IGNORECASE | re.ASCII)


def reasoning_of(text: str) -> str:
    """The text inside reasoning tags, with several blocks joined; an unclosed block extends to the end of the text, and
    an unopened one starts at its beginning. Empty if there is none. One forward scan; never raises."""
    pattern, ends = tag_pattern(tuple(REASONING_TAGS))
    blocks: list[str] = []
    start, inside = 0, ""
    for tag in pattern.finditer(text):
        name = canonical(tag[0])
        opening = ends.get(name)
        if not inside and opening is None:
            start, inside = tag.end(), name
        elif opening == inside or (not inside and not blocks):
            blocks.append(text[start : tag.start()])
            start, inside = tag.end(), ""
    if inside:
        blocks.append(text[start:])
    return "\n".join(filter(None, (block.strip() for block in blocks)))


def bare_reasoning(text: str) -> str:
    """A text that is entirely reasoning, without the surrounding tags, if any; the tags of steps are kept."""
    text = text.strip()
    return reasoning_of(text) if tag_pattern(tuple(REASONING_TAGS))[0].match(text) else text


def answer_text(text: str) -> str:
    """The content of the answer tags after the reasoning, or all text after it; the entire text if it has no reasoning.
    It is not interpreted; see `read_response`."""
    if not reasoning_of(text):
        return text
    final = final_answer(text, ended=True) or ""
    return next((part.content for part in elements(final) if part.name == "answer"), final)


def reasoning_steps(reasoning: str) -> dict[str, str]:
    """The text of each step in the reasoning, by name, in text order."""
    steps: dict[str, str] = {}
    opened: dict[str, int] = {}
    for tag in _STEP_TAG.finditer(reasoning):
        name = tag[2].lower()
        if not tag[1]:
            opened[name] = tag.end()
        elif name in opened:
            steps[name] = reasoning[opened.pop(name) : tag.start()].strip()
    return steps
