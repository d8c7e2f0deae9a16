"""Parsing answers without tags: LaTeX boxes, tables, JSON and marked prose, shares, lines and sentences, in this order.

Of JSON and marked prose, whichever comes first states the answer; a line or a sentence counts only if nothing else
does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from emocaliber.core.predictions import State
from emocaliber.reading.confidence import read_confidence
from emocaliber.reading.interpretation import distribution_of, interpret
from emocaliber.reading.json_answers import read_json
from emocaliber.reading.labels import LabelNames
from emocaliber.reading.numbers import read_number
from emocaliber.reading.plain import plain_text
from emocaliber.reading.prose import read_prose
from emocaliber.reading.sentences import number_beside, stated_labels
from emocaliber.reading.shares import read_bare, read_line, read_named_shares, read_spoken_shares, read_table
from emocaliber.reading.statement import AMBIGUOUS, CORRECTION, SECONDARY, Statement

_OBJECT = re.compile(r"\{[^{}]{0,1000}\}")
_OPTION_CHOSEN = re.compile(
    r"\b(?:choose|chose|pick|select(?:ed)?|go with|answer is|answer would be|correct (?:option|answer) is)\s"
    r"(?:option\s|choice\s|letter\s)?\(?(?P<letter>[A-HJ-Z])\)?(?=[\s.,:;!)]|$)"
)


@dataclass(frozen=True)
class Untagged:
    """A parser of untagged texts from one response, which may show the letters of options."""

    names: LabelNames
    response: str

    def read(self, text: str) -> Statement | None:
        """The statement in the first of these formats that the text has; None if it has none."""
        plain, boxed = plain_text(text)
        if boxed and (statement := self._boxed(boxed, plain)):
            return statement
        in_json = read_json(text, self.names) or (
            read_json(text.replace('\\"', '"'), self.names) if '\\"' in text else None
        )
        table = read_table(plain, self.names) if in_json is None else None
        if table:
            return table
        start = in_json[0] if in_json else len(text)
        prose = (
            read_prose(plain_text(_OBJECT.sub(" ", text[:start]))[0], self.names, self.response)
            if in_json
            else read_prose(plain, self.names, self.response)
        )
        if in_json is None or prose is None:
            if prose and prose.label is not None and prose.confidence is None and not prose.shares:
                prose = replace(prose, shares=self._listed(plain))
            return (in_json[1] if in_json else prose) or self._unmarked(plain)
        return self._either(prose, in_json[1], text[:start])

    def _unmarked(self, plain: str) -> Statement | None:
        return read_named_shares(plain, self.names) or read_spoken_shares(plain, self.names) or self._bare(plain)

    def _boxed(self, boxed: list[str], plain: str) -> Statement | None:
        """The last box that names a candidate, with the confidence that the text states."""
        for content in reversed(boxed[-20:]):
            label = self.names.read(content, self.response)
            if not isinstance(label, State):
                line = read_line(content, self.names)
                if line is not None and line.confidence is not None:
                    return line
                stated = read_confidence(plain, self.names, label)
                numbers = [other for other in boxed if other is not content and isinstance(read_number(other), float)]
                if stated.confidence is None and len(numbers) == 1:
                    stated = Statement(confidence=numbers[0])
                return replace(stated, label=content)
        return None

    def _either(self, prose: Statement, in_json: Statement, between: str) -> Statement:
        """Of marked prose and JSON after it, the one that counts: the JSON if they agree or it is a correction."""
        labels = [interpret(statement, self.names, self.response, {}, "").label for statement in (prose, in_json)]
        if labels[0] is None or labels[0] == labels[1]:
            return (
                in_json
                if in_json.confidence or in_json.shares
                else replace(in_json, confidence=prose.confidence, scale=prose.scale)
            )
        single_share = in_json.label is None and len(in_json.shares) == 1
        if labels[1] is None or single_share or SECONDARY.search(between[-100:]):
            return prose
        return in_json if CORRECTION.search(between[-100:]) else Statement(AMBIGUOUS.join(map(str, labels)))

    def _listed(self, plain: str) -> tuple[tuple[str, str], ...]:
        """A readable list of shares next to a marked answer; empty if there is none."""
        listed = read_named_shares(plain, self.names)
        return listed.shares if listed and isinstance(distribution_of(listed.shares, self.names), dict) else ()

    def _bare(self, plain: str) -> Statement | None:
        """A line that is little more than a label, or a label stated by sentences, with the confidence stated elsewhere
        in the text."""
        bare = read_bare(plain, self.names)
        if bare is None and (chosen := _OPTION_CHOSEN.search(plain)):
            bare = Statement(chosen["letter"])
        if bare is None or AMBIGUOUS in (bare.label or ""):
            labels = stated_labels(plain, self.names)
            bare = Statement(AMBIGUOUS.join(labels)) if len(labels) == 1 or (labels and bare is None) else bare
        if bare is None or bare.confidence is not None or bare.label is None:
            return bare
        label = self.names.read(bare.label, self.response)
        stated = read_confidence(plain, self.names, label)
        if stated.confidence is None and not isinstance(label, State):
            stated = Statement(confidence=number_beside(plain, label, self.names))
        return replace(stated, label=bare.label)
