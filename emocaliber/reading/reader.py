"""The reader: one response in, one Reading out. Every policy on what counts as an answer meets here.

Reasoning, other turns and special tokens are taken off first (final). Then, in this order: the answer's tags; JSON and
marked prose, of which the earlier states the answer; a table or a list of shares; a line that is a label and little
else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from emocaliber.core.predictions import State
from emocaliber.reading.final import Element, elements, final_answer, outside_blocks, without_tags
from emocaliber.reading.json_answers import read_json
from emocaliber.reading.labels import LabelNames, hashable, label_names
from emocaliber.reading.numbers import read_number, read_words
from emocaliber.reading.prose import is_marked, read_confidence, read_prose
from emocaliber.reading.shares import (
    entries,
    normal_spaces,
    read_bare,
    read_line,
    read_named_shares,
    read_shares,
    read_table,
)
from emocaliber.reading.statement import AMBIGUOUS, CORRECTION, SECONDARY, Statement

_ROUNDING = 0.005
_FAILURES = {State.ENGINE_ERROR.value, State.IMAGE_ERROR.value}
_ABSENT = {State.EMPTY, State.MISSING_LABEL, State.MISSING_CONFIDENCE}
_PLACEHOLDER = re.compile(
    r"\W*(?:(?:the|your|my|final|one|chosen|emotion)\s)*(?:label|answer|emotion|choice|feeling|option|0\.00)?\W*"
    r"|\W*(?:the|your)\s[\w\s]{1,60}",
    re.IGNORECASE,
)
_LATEX_WORDS = re.compile(
    r"\\(?:text|mathrm|textbf|mathbf|textit|mathit|emph|textrm|textsf|operatorname)\s?\{([^{}\n]{0,100})\}"
)
_BOXED = re.compile(r"\\boxed\s?\{([^{}\n]{0,200})\}")
_SYMBOLS = {"\\\\": "\n", "\\quad": " ", "\\qquad": " ", "\\approx": "≈", "\\sim": "≈", "\\to": "→"}
_SYMBOL = re.compile(r"\\\\(?![a-zA-Z{\[(])|\\(?:q?quad|approx|sim|to)\b")
_EMPHASIS = re.compile(r"(?<!\w)_(\w[^_\n]{0,40})_(?!\w)")
_MATHS = re.compile(r"\\[()\[\],;!]|\\(?=[%$#_])|\$")
_TAG_AS_NAME = re.compile(r"<(answer|emotion|label|confidence|probability)>\s?[:=]", re.IGNORECASE)
_NO_TAGS = re.compile(r"</?(?!answer|confidence|distribution)[a-z][\w:-]{0,30}(?:\s[^<>]{0,100})?/?>", re.IGNORECASE)
_BREAK = re.compile(r"<\s?(?:br|p|hr)\s?/?\s?>", re.IGNORECASE)
_QUOTED = re.compile(r"^[ ]{0,3}>\s(?=[^\s=>])", re.MULTILINE)
_MARKUP = str.maketrans({"*": None, "`": None, "\u200b": None, "\ufeff": None} | dict.fromkeys("¹²³⁴⁵⁶⁷⁸⁹⁰"))
_PAIR_END = re.compile(r".*(?:,(?=[\s\"'])|\})", re.DOTALL)
_AFTER_TAG = re.compile(r"[\s,:(\[-]{0,5}([^\n]{1,60})")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a response says.

    `label` is one of the candidates, `confidence` lies in [0, 1], `distribution` maps candidates to shares as they
    were stated (not rescaled; shares left unstated are left out): each is None where it could not be read, and
    `state` names the first thing that went wrong: label before distribution before confidence. `worded` marks a
    confidence that came from a table of words.
    """

    label: str | None
    confidence: float | None
    distribution: dict[str, float] | None
    state: State
    worded: bool = False


def read_response(
    text: str,
    candidates: Sequence[str],
    *,
    finish_reason: str | None = None,
    synonyms: Mapping[str, str] | None = None,
    words: Mapping[str, float] | None = None,
) -> Reading:
    """Read the final answer of a response. Pure, total, linear in the text; never raises.

    `candidates` are the labels to choose from. `finish_reason` is the engine's: "length" makes what is missing
    TRUNCATED, and takes an unfinished last line for no answer; "engine error" and "image error" become that state.
    `synonyms` maps other words to their labels; without it those of `core.taxonomy.synonyms_of` count. `words` is a
    table such as CONFIDENCE_WORDS; without one, a confidence in words is not a number.

    A label without a confidence gives the label with MISSING_CONFIDENCE.

    """
    if finish_reason in _FAILURES:
        return Reading(None, None, None, State(finish_reason))
    cut = finish_reason == "length"
    names = label_names(tuple(candidates), hashable(synonyms))
    final = final_answer(text, ended=None if finish_reason is None else not cut)
    if not text.strip():
        reading = Reading(None, None, None, State.EMPTY)
    elif final is None:
        reading = Reading(None, None, None, State.MISSING_LABEL)
    else:
        reading = _Answer(names, text, cut).read(final, words or {})
    if cut and reading.state in _ABSENT:
        return replace(reading, state=State.TRUNCATED)
    return reading


def _complete_part(text: str, cut: bool) -> str:
    """The text up to its last whole line or, in JSON, its last whole pair, where it was cut."""
    if not cut:
        return text
    pair = _PAIR_END.match(text) if "{" in text else None
    return text[: max(text.rfind("\n") + 1, pair.end() if pair else 0)]


@dataclass(frozen=True)
class _Answer:
    """The candidates' names and the whole response, in which the letters of options may be shown."""

    names: LabelNames
    response: str
    cut: bool

    def read(self, final: str, words: Mapping[str, float]) -> Reading:
        """The reading of the final answer: of what stands outside blocks in unknown tags, or else of all of it."""
        outside = outside_blocks(final)
        if outside is None:
            return Reading(None, None, None, State.MISSING_LABEL)
        for text in dict.fromkeys([outside, final]):
            statement = self.tagged(text) or self.untagged(_complete_part(text, self.cut))
            reading = self.interpret(statement, words, text)
            if reading.label is not None:
                break
        return reading

    def tagged(self, final: str) -> Statement | None:
        """What the answer's tags state; None where there are none."""
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
            before = self.untagged(without_tags(final[: stated.start])) if stated and not spreads else None
            before = before or (self.untagged(final[parts[-1].end :]) if stated and not spreads else None)
            return Statement(before.label if before else None, confidence, shares)
        inner = None if confidence is not None or spreads else self._inside(answer.content)
        if inner:
            return inner
        if confidence is not None or spreads:
            return Statement(answer.content, confidence, shares)
        stated_after = self._after(_complete_part(final[answer.end :], self.cut), answer)
        return replace(stated_after, label=answer.content)

    def untagged(self, text: str) -> Statement | None:
        """The first of the forms that the text has; None where it has none."""
        plain, boxed = _plain(text)
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
            read_prose(_plain(text[:start])[0], self.names, self.response)
            if in_json
            else read_prose(plain, self.names, self.response)
        )
        if in_json is None or prose is None:
            if prose and prose.label is not None and prose.confidence is None and not prose.shares:
                prose = replace(prose, shares=self._listed(plain))
            return (in_json[1] if in_json else prose) or read_named_shares(plain, self.names) or self._bare(plain)
        return self._either(prose, in_json[1], text[:start])

    def interpret(self, statement: Statement | None, words: Mapping[str, float], final: str) -> Reading:
        """The reading of a statement."""
        if statement is None:
            return Reading(None, None, None, State.MISSING_LABEL)
        if len(statement.shares) == 1 and statement.label is None:
            name, share = statement.shares[0]
            statement = Statement(name, statement.confidence or share, scale=statement.scale)
        distribution = self._distribution(statement.shares) if statement.shares else None
        shares = distribution if isinstance(distribution, dict) else None
        label = self.names.read(statement.label, self.response) if statement.label is not None else _top(distribution)
        confidence, worded = _confidence(statement, words, final)
        if statement.confidence is None and shares is not None and label in shares:
            confidence = shares[label]
        states = (part for part in (label, distribution, confidence) if isinstance(part, State))
        return Reading(
            None if isinstance(label, State) else label,
            None if isinstance(confidence, State) else confidence,
            shares,
            next(states, State.OK),
            worded,
        )

    def _listed(self, plain: str) -> tuple[tuple[str, str], ...]:
        """A list of shares beside a marked answer; empty where there is none that can be read."""
        listed = read_named_shares(plain, self.names)
        return listed.shares if listed and isinstance(self._distribution(listed.shares), dict) else ()

    def _bare(self, plain: str) -> Statement | None:
        """A line that is a label and little else, with the confidence that the text states elsewhere."""
        bare = read_bare(plain, self.names)
        if bare is None:
            labels = self.names.stated(plain)
            bare = Statement(AMBIGUOUS.join(labels)) if labels else None
        if bare is None or bare.confidence is not None or bare.label is None:
            return bare
        stated = read_confidence(plain, self.names, self.names.read(bare.label, self.response))
        return replace(stated, label=bare.label)

    def _answers(self, parts: list[Element], final: str) -> list[Element]:
        """The elements that may be the answer: no runner-up, and no quoted form beside a readable one."""
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
        """What an answer's content states where it is more than a label."""
        in_json = read_json(content, self.names)
        if in_json:
            return in_json[1]
        shares = read_shares(content)
        if shares:
            return Statement(shares=shares)
        nested = elements(content)
        if any(part.name == "answer" for part in nested):
            return self.tagged(content)
        if (
            len(nested) == 1
            and nested[0].end == len(content.rstrip())
            and self.names.is_name(content[: nested[0].start])
        ):
            return Statement(content[: nested[0].start], nested[0].content)
        return self.untagged(content) if is_marked(_plain(content)[0]) else None

    def _after(self, text: str, answer: Element) -> Statement:
        """The confidence that follows an answer's tags: prose, or a number alone."""
        label = self.names.read(answer.content, self.response)
        plain = _plain(text)[0]
        stated = read_confidence(plain, self.names, label)
        if stated.confidence is None and (alone := _AFTER_TAG.match(plain)) and any(map(str.isdigit, alone[1])):
            pairs = entries(f"{answer.content[:80]} {alone[1].strip(' ()[]')}")
            return Statement(confidence=pairs[0][1]) if len(pairs) == 1 else Statement()
        return stated

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
        """Of marked prose and JSON behind it the one that counts: JSON where they agree or it corrects."""
        labels = [self.interpret(statement, {}, "").label for statement in (prose, in_json)]
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

    def _distribution(self, shares: tuple[tuple[str, str], ...]) -> dict[str, float] | State:
        distribution: dict[str, float] = {}
        for name, text in shares:
            label, share = self.names.read(name), read_number(text)
            if isinstance(label, State):
                return label
            if isinstance(share, State):
                return share
            if label in distribution:
                return State.AMBIGUOUS_LABEL
            distribution[label] = share
        allowed = 1 + _ROUNDING * len(distribution) + 1e-9
        return distribution if sum(distribution.values()) <= allowed else State.OUT_OF_RANGE


def _plain(text: str) -> tuple[str, list[str]]:
    """The text without Markdown's and LaTeX's marks, and what stands in boxes."""
    if "<" in text:
        text = _NO_TAGS.sub(" ", _TAG_AS_NAME.sub(r"\1:", _BREAK.sub("\n", text)))
    if "\\" in text:
        text = _SYMBOL.sub(lambda symbol: _SYMBOLS[symbol[0]], _LATEX_WORDS.sub(r"\1", text))
    plain = _QUOTED.sub("", normal_spaces(text))
    boxed = _BOXED.findall(plain) if "\\" in plain else []
    plain = _BOXED.sub(r"\1", plain) if boxed else plain
    return _EMPHASIS.sub(r"\1", _MATHS.sub("", plain).translate(_MARKUP)), boxed


def _is_secondary(part: Element, final: str) -> bool:
    line = final[max(0, part.start - 60) : part.start].rpartition("\n")[2].rpartition(">")[2]
    return bool(SECONDARY.search(line)) and not CORRECTION.search(line)


def _confidence_of(parts: list[Element], answer: Element | None, answers: list[Element], final: str) -> str | None:
    """The tagged confidence that goes with the answer: behind it, or before the only answer; several that differ are
    all of them, unless words take the earlier one back."""
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


def _confidence(statement: Statement, words: Mapping[str, float], final: str) -> tuple[float | State, bool]:
    if statement.confidence is None:
        return State.MISSING_CONFIDENCE, False
    worded = read_words(statement.confidence, words)
    if worded is not None:
        return worded, True
    return read_number(statement.confidence, statement.scale, final), False


def _top(distribution: dict[str, float] | State | None) -> str | State:
    if distribution is None:
        return State.MISSING_LABEL
    if isinstance(distribution, State):
        return distribution
    highest = max(distribution.values())
    top = [label for label, share in distribution.items() if share == highest]
    return top[0] if len(top) == 1 else State.AMBIGUOUS_LABEL
