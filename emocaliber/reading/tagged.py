"""Parsing answers in tags: which `<answer>` counts, and the confidence or distribution that belongs to it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from emocaliber.core.predictions import State
from emocaliber.reading.confidence import read_confidence
from emocaliber.reading.final import Element, elements, without_tags
from emocaliber.reading.json_answers import read_json
from emocaliber.reading.labels import LabelNames
from emocaliber.reading.plain import complete_part, plain_text
from emocaliber.reading.prose import is_marked
from emocaliber.reading.shares import entries, read_shares
from emocaliber.reading.statement import AMBIGUOUS, CORRECTION, SECONDARY, Statement
from emocaliber.reading.untagged import Untagged

_PLACEHOLDER = re.compile(
    r"\W*(?:(?:the|your|my|final|one|chosen|emotion)\s)*(?:label|answer|emotion|choice|feeling|option|0\.00)?\W*"
    r"|\W*(?:the|your)\s[\w\s]{1,60}",
    re.IGNORECASE,
)
_AFTER_TAG = re.compile(r"[\s,:(\[-]{0,5}([^\n]{1,60})")


@dataclass(frozen=True)
class Tagged:
    """A parser of texts with answer tags; `cut` says that the response was cut off."""

    untagged: Untagged
    cut: bool

    @property
    def names(self) -> LabelNames:
        """The candidates' names."""
        return self.untagged.names

    @property
    def response(self) -> str:
        """The response, in which the letters of options may be shown."""
        return self.untagged.response

    def read(self, final: str) -> Statement | None:
        """The statement of the answer tags; None if there are none."""
        parts = elements(final)
        if not parts:
            return None
        answers = self._answers(parts, final)
        answer = answers[-1] if answers else None
        first_after = answers[-2].end if len(answers) > 1 else 0
        spreads = [part for part in parts if part.name == "distribution" and part.start >= first_after]
        confidence = _confidence_of(parts, answer, answers, final)
        shares = self._spread(spreads[-1]) if spreads else ()
        if answer is None:
            stated = next((part for part in parts if part.name == "confidence"), None)
            before = self.untagged.read(without_tags(final[: stated.start])) if stated and not spreads else None
            before = before or (self.untagged.read(final[parts[-1].end :]) if stated and not spreads else None)
            return Statement(before.label if before else None, confidence, shares)
        bare = confidence is None and not spreads
        if bare and len(answers) > 1 and not final[answers[-2].end : answers[-1].start].strip():
            labels = {self.names.read(each.content, self.response) for each in answers[-2:]}
            if len(labels) > 1 and not any(isinstance(label, State) for label in labels):
                return Statement(AMBIGUOUS.join(each.content for each in answers[-2:]))
        inner = None if confidence is not None or spreads else self._inside(answer.content)
        if inner:
            return inner
        if confidence is not None or spreads:
            return Statement(answer.content, confidence, shares)
        stated_after = self._after(complete_part(final[answer.end :], self.cut), answer)
        return replace(stated_after, label=answer.content)

    def _answers(self, parts: list[Element], final: str) -> list[Element]:
        """The elements that may be the answer: no runners-up, and no placeholder if there is a readable answer."""
        answers = [part for part in parts if part.name == "answer"]
        own = [part for part in answers if part.tag in ("answer", "final_answer")] or answers
        inner = (
            {id(a) for a in own for b in own if a is not b and b.start <= a.start and a.end <= b.end}
            if len(own) < 50
            else set()
        )
        outer = [part for part in own if id(part) not in inner] if own is answers and len(own) < 50 else own
        fair = [part for part in outer if not _is_secondary(part, final)] or outer
        readable = [part for part in fair if not isinstance(self.names.read(part.content, self.response), State)]
        if readable and fair[-1] is not readable[-1] and _PLACEHOLDER.fullmatch(fair[-1].content[:200]):
            return readable
        return fair

    def _spread(self, spread: Element) -> tuple[tuple[str, str], ...]:
        in_json = read_json(spread.content, self.names)
        shares = read_shares(spread.content) or (in_json[1].shares if in_json else ())
        return shares or ((spread.content, ""),)

    def _inside(self, content: str) -> Statement | None:
        """The statement of an answer's content, if it is more than a label."""
        in_json = read_json(content, self.names)
        if in_json:
            return in_json[1]
        shares = read_shares(content)
        if shares:
            return Statement(shares=shares)
        nested = elements(content)
        if any(part.name == "answer" for part in nested):
            return self.read(content)
        if (
            len(nested) == 1
            and nested[0].end == len(content.rstrip())
            and self.names.is_name(content[: nested[0].start])
        ):
            return Statement(content[: nested[0].start], nested[0].content)
        return self.untagged.read(content) if is_marked(plain_text(content)[0]) else None

    def _after(self, text: str, answer: Element) -> Statement:
        """The confidence that follows an answer's tags: prose, or a number alone."""
        label = self.names.read(answer.content, self.response)
        plain = plain_text(text)[0]
        stated = read_confidence(plain, self.names, label)
        if stated.confidence is None and (alone := _AFTER_TAG.match(plain)) and any(map(str.isdigit, alone[1])):
            pairs = entries(f"{answer.content[:80]} {alone[1].strip(' ()[]')}")
            return Statement(confidence=pairs[0][1]) if len(pairs) == 1 else Statement()
        return stated


def _is_secondary(part: Element, final: str) -> bool:
    line = final[max(0, part.start - 60) : part.start].rpartition("\n")[2].rpartition(">")[2]
    return bool(SECONDARY.search(line)) and not CORRECTION.search(line)


def _confidence_of(parts: list[Element], answer: Element | None, answers: list[Element], final: str) -> str | None:
    """The tagged confidence that belongs to the answer: after it, or before it if it is the only answer. Different ones
    are joined by AMBIGUOUS, unless words correct the earlier one."""
    stated = [part for part in parts if part.name == "confidence" and not _is_secondary(part, final)]
    if answer is not None:
        following = [part.start for part in parts if part.name == "answer" and part.start >= answer.end]
        after = [part for part in stated if answer.end <= part.start < min(following, default=len(final))]
        before = [part for part in stated if part.end <= answer.start]
        stated = after or (before if len(answers) == 1 else [])
    if not stated:
        return None
    earlier = [part for part in stated[:-1] if part.content.strip() != stated[-1].content.strip()]
    if earlier and not CORRECTION.search(final[earlier[-1].end : stated[-1].start]):
        return AMBIGUOUS.join((earlier[-1].content[:60], stated[-1].content[:60]))
    return stated[-1].content
