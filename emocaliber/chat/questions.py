"""Questions: typed text made safe, and the request that asks it about one picture.

Not a template: those are in `prompts/`. A follow-up quotes the conversation so far instead of continuing it, so that
every engine can ask it as a question of its own; the answer has the form of any other and is read by the same reader.

    python -c "from emocaliber.chat.questions import read_candidates; print(read_candidates('joy, awe'))"
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

MOST_CANDIDATES, LONGEST_CANDIDATE = 40, 40
LONGEST_QUESTION = 500
MOST_TURNS_QUOTED = 4
LONGEST_QUOTE = 600

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
_SPECIAL = re.compile(r"<\||\|>|</?(?:think|answer|confidence|distribution)>|\[/?INST\]|</?s>", re.IGNORECASE)


@dataclass(frozen=True)
class Exchange:
    """A question of the conversation and the answer to it, as text."""

    question: str
    answer: str


def read_candidates(text: str) -> tuple[str, ...]:
    """The feelings typed, separated by commas or lines. Raises UserError saying what to mend."""
    names = [part.strip() for part in re.split(r"[,;\n]", text) if part.strip()]
    if len(names) < 2:
        raise UserError("give at least two feelings to choose from, separated by commas: joy, sadness")
    if len(names) > MOST_CANDIDATES:
        raise UserError(f"{len(names)} feelings are more than the {MOST_CANDIDATES} that one question may offer")
    for name in names:
        if len(name) > LONGEST_CANDIDATE:
            raise UserError(f"{name[:LONGEST_CANDIDATE]}…: a feeling is named in {LONGEST_CANDIDATE} characters")
        _refuse_markup(name)
    if twice := next((name for name in names if [n.casefold() for n in names].count(name.casefold()) > 1), None):
        raise UserError(f"{twice}: each feeling may stand once")
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
    """What a chat template or the answer's grammar would take for its own is not sent to a model."""
    if found := _SPECIAL.search(text):
        raise UserError(f"{found[0]!r} has a meaning of its own for the model; leave it out")
    if _CONTROL.search(text):
        raise UserError("the text holds control characters; type it again without them")


def request_of(
    name: str,
    image: Image.Image,
    template: Template,
    candidates: Sequence[str],
    *,
    question: str = "",
    history: Sequence[Exchange] = (),
) -> Request:
    """The request that asks the template's question, or a typed one with the conversation before it."""
    prompt = template.render(candidates)
    if question:
        prompt = f"{_quoted(history)}{question} {prompt}"
    return Request(name, image, prompt, choices_of(template, candidates))


def _quoted(history: Sequence[Exchange]) -> str:
    last = history[-MOST_TURNS_QUOTED:]
    if not last:
        return ""
    lines = [f"Asked: {one.question or 'which feeling fits'} You said: {_safe(one.answer)}" for one in last]
    return "\n".join(["Earlier in this conversation:", *lines, "Now: "])


def _safe(answer: str) -> str:
    """A model's own words as they may be quoted to it: no marks that a chat template would act on, and not endless."""
    return " ".join(re.sub(r"<\|.*?\|>|<\||\|>", " ", answer[-LONGEST_QUOTE:]).split())
