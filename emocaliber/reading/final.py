"""The final answer: what follows the reasoning, and the last complete tagged answer in it. Its words are not read here.

Text inside the reasoning never counts, even where it quotes tags from the picture or the prompt. One forward scan
for tags: no pattern spans from an opening to a closing tag, so a megabyte of opening tags costs one pass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TAG = re.compile(r"<(/?)(think|answer|confidence|distribution)>", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Element:
    """A complete tagged element; `start` and `end` are its offsets in the text, tags included."""

    name: str
    content: str
    start: int
    end: int


def after_reasoning(text: str) -> str | None:
    """The text after the last closing think tag, or all of it; None where the reasoning never ends."""
    end, inside = 0, False
    for tag in _TAG.finditer(text):
        if tag[2].lower() == "think":
            inside = not tag[1]
            end = tag.end()
    return None if inside else text[end:]


def last_elements(text: str) -> dict[str, Element]:
    """The last complete `answer` and `distribution`, and the `confidence` that goes with them, each under its name.

    That is the last confidence after the answer; where none follows, one that precedes the only answer.
    """
    found = _elements(text)
    last = {element.name: element for element in found if element.name != "confidence"}
    answers = [element for element in found if element.name == "answer"]
    confidences = [element for element in found if element.name == "confidence"]
    if answers:
        after = [element for element in confidences if element.start >= answers[-1].end]
        before = [element for element in confidences if element.end <= answers[-1].start]
        confidences = after or (before if len(answers) == 1 else [])
    if confidences:
        last["confidence"] = confidences[-1]
    return last


def _elements(text: str) -> list[Element]:
    found: list[Element] = []
    opened: dict[str, tuple[int, int]] = {}
    for tag in _TAG.finditer(text):
        name = tag[2].lower()
        if not tag[1]:
            opened[name] = tag.span()
        elif name in opened:
            start, content = opened.pop(name)
            found.append(Element(name, text[content : tag.start()], start, tag.end()))
    return found
