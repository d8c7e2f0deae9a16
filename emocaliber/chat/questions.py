"""Questions: typed text made safe, and the request that asks it about a picture.

A follow-up quotes the conversation so far instead of continuing it, so that every engine can ask it as a question of
its own; the answer has the form of any other and is read by the same reader.

    read_labels("joy, awe")
    request_of("face.png", image, template, ("joy", "awe"), question="why not awe?", history=[Exchange("", "...")])
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import Template
from emocaliber.generation.engine import Request
from emocaliber.generation.respond import choices_of

MOST_LABELS, LONGEST_LABEL = 40, 40
LONGEST_QUESTION = 500
MOST_TURNS_QUOTED = 4
LONGEST_QUOTE = 600

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
_SPECIAL = re.compile(r"<\||\|>|</?(?:think|answer|confidence|distribution)>|\[/?INST\]|</?s>", re.IGNORECASE)


@dataclass(frozen=True)
class Exchange:
    """A question of the conversation and its answer, as text."""

    question: str
    answer: str


def read_labels(text: str) -> tuple[str, ...]:
    """The labels typed, separated by commas or lines. Raises UserError saying what to change."""
    names = [part.strip() for part in re.split(r"[,;\n]", text) if part.strip()]
    if len(names) < 2:
        raise UserError("give at least two labels to choose from, separated by commas: joy, sadness")
    if len(names) > MOST_LABELS:
        raise UserError(f"{len(names)} labels are more than the {MOST_LABELS} that a question may offer")
    for name in names:
        if len(name) > LONGEST_LABEL:
            raise UserError(f"{name[:LONGEST_LABEL]}…: a label has at most {LONGEST_LABEL} characters")
        _refuse_markup(name)
    if twice := next((name for name in names if [n.casefold() for n in names].count(name.casefold()) > 1), None):
        raise UserError(f"{twice}: this label is listed twice")
    return tuple(names)


def read_question(text: str) -> str:
    """A typed question, spaces collapsed. Raises UserError where it is empty, too long, or holds control marks."""
    question = " ".join(text.split())
    if not question:
        raise UserError("type a question first")
    if len(question) > LONGEST_QUESTION:
        raise UserError(f"the question has {len(question)} characters; at most {LONGEST_QUESTION} are asked")
    _refuse_markup(question)
    return question


def _refuse_markup(text: str) -> None:
    """Raises UserError for text that a chat template or the answer format would interpret as markup."""
    if special := _SPECIAL.search(text):
        raise UserError(f"{special[0]!r} has a meaning of its own for the model; leave it out")
    if _CONTROL.search(text):
        raise UserError("the text holds control characters; type it again without them")


def request_of(
    name: str,
    image: Image.Image,
    template: Template,
    labels: Sequence[str],
    *,
    question: str = "",
    history: Sequence[Exchange] = (),
) -> Request:
    """The request with the question of the template, or with a typed one and the conversation before it."""
    prompt = template.render(labels)
    if question:
        prompt = f"{_quoted(history)}{question} {prompt}"
    return Request(name, image, prompt, choices_of(template, labels))


def _quoted(history: Sequence[Exchange]) -> str:
    last = history[-MOST_TURNS_QUOTED:]
    if not last:
        return ""
    lines = [f"Asked: {turn.question or 'which feeling fits'} You said: {_safe(turn.answer)}" for turn in last]
    return "\n".join(["Earlier in this conversation:", *lines, "Now: "])


def _safe(answer: str) -> str:
    """A model's own text, made safe to quote to it: without markup of a chat template, and of limited length."""
    return " ".join(re.sub(r"<\|.*?\|>|<\||\|>", " ", answer[-LONGEST_QUOTE:]).split())
