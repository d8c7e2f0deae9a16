"""The reasoning before an answer: all of it, and EmoCaliber's five steps in it.

The counterpart of final, which takes it off, by the same tags. What is in it is never read as an answer.

    python -c "from emocaliber.reading import reasoning_of as of; print(of('<think>Rain.</think><answer>awe</answer>'))"
"""

from __future__ import annotations

import re

from emocaliber.reading.final import REASONING_TAGS, canonical, elements, final_answer, tag_pattern

STEPS = ("element", "human", "context", "interaction", "analysis")
"""EmoCaliber's five steps (arXiv 2512.15528), by the names of their tags, in order: what stands out, the people, what
surrounds them, how these interact, what follows for the emotion."""

_STEP_TAG = re.compile(rf"<(/?)({'|'.join(STEPS)})>", re.IGNORECASE | re.ASCII)


def reasoning_of(text: str) -> str:
    """What stands in the tags of reasoning, of several blocks one after the other; to the end where a block is never
    closed, from the beginning where it was never opened. Empty where there is none. One forward scan; never raises."""
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
    """A text that is all reasoning, without the tags around it, if there are any; steps in it keep theirs."""
    text = text.strip()
    return reasoning_of(text) if tag_pattern(tuple(REASONING_TAGS))[0].match(text) else text


def answer_text(text: str) -> str:
    """What stands in the answer's tags behind the reasoning, or all that does; the text itself where it does not
    reason. What it means is for `read_response` to say."""
    if not reasoning_of(text):
        return text
    final = final_answer(text, ended=True) or ""
    return next((part.content for part in elements(final) if part.name == "answer"), final)


def reasoning_steps(reasoning: str) -> dict[str, str]:
    """The text of each of STEPS that the reasoning has, by its name, in the order of the text."""
    steps: dict[str, str] = {}
    opened: dict[str, int] = {}
    for tag in _STEP_TAG.finditer(reasoning):
        name = tag[2].lower()
        if not tag[1]:
            opened[name] = tag.end()
        elif name in opened:
            steps[name] = reasoning[opened.pop(name) : tag.start()].strip()
    return steps
