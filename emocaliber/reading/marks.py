"""Marks: places where prose introduces a label or a confidence ("Emotion:", "I'd put my confidence at"), and their
values.

A mark is strong if it starts a line or a clause ("Final answer: joy"), and weak within a sentence ("the emotion is
joy"). Its value is on the same line, or below if the mark is a heading. Marks of runners-up ("Second emotion: awe") and
in explanations are secondary.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from emocaliber.reading.numbers import LONGEST, is_plain, normal_number_text
from emocaliber.reading.scales import Scale, scale_of_heading
from emocaliber.reading.statement import SECONDARY
from emocaliber.reading.vocabulary import CONFIDENCE, CONFIDENCE_CJK, LABEL, LABEL_CJK

_NOUNS = (
    "label|score|level|value|rating|estimate|name|class|category|percentage|percent|type|prediction|shown|expressed"
    "|depicted|displayed|conveyed|evoked|detected|probability|guess"
)
_MARK = re.compile(
    rf"(?:(?<![^\W_])(?<!['’-])(?:(?P<label>{LABEL})|(?:{CONFIDENCE})|pr?(?=\s?\([^()\n]{{1,40}}\)\s?[=≈:]))|(?P<label_cjk>{LABEL_CJK})|(?:{CONFIDENCE_CJK}))"
    rf"(?P<noun>(?:[\s_](?:{_NOUNS})\b){{0,2}})(?P<rank>\s?\#?[1-9](?![0-9.%]))?"
    r"(?P<about>\s(?:in|of|for|that|about|from)\s[^\W0-9][^\n:：=|,.;()]{0,40}?)?[\"'”’`]?"
    r"\s{0,2}(?P<scale>[(\[（][^()（）\[\]\n\"'“]{0,40}[)\]）]|in\s?%|%)?[\"'”’]?\s{0,2}"
    r"(?P<sep>[:：=＝→]|\|(?=[^\n]*\S)|[-–—](?=\s)|\b(?:is|are|est|ist|es|è|é)\b:?|[为為是はが]"
    r"|(?:of|at|de|von|di|da|à|[.,])?\s?(?=(?:about\s|around\s|roughly\s|approximately\s)?[~≈]?\s?\.?[0-9])|$)",
    re.IGNORECASE | re.MULTILINE,
)
_WORD = re.compile(r"\w")
_BOUNDARY = re.compile(r"[\n.;!?,|({\[:：]|\s[-–—]\s|[0-9]{1,2}[.)]\s|\b(?:and|with|but|yet)\b")
_OWN = re.compile(
    r"(?:[\s\U0001F300-\U0001FAFF\u2600-\u27bf#>•\-–—+\d.)\"'“‘`_|]|\b(?:my|the|your|our|final|overall|predicted|primary|main|dominant|detected|facial|most"
    r"|likely|best|top|chosen|selected|estimated|model|model's|self-reported|stated|so|therefore|thus|hence|here|a|an"
    r"|emotional|perceived|expressed|recognized|recognised|inferred|identified|single|short|closest|at|of|sure|ok|okay"
    r"|certainly|then|this|strongest|one|is)\b)*",
    re.IGNORECASE,
)
_EXPLANATION = re.compile(
    r"(?:^[^\w\n]{0,8}|(?<=[.;!?]\s))(?:explanations?|reason(?:s|ing)?|rationale|justification|why|notes?|because|analysis"
    r"|evidence|comments?|observations?|caveats?|alternatives?|alternatively|runner[- ]?ups?|other|options?|candidates?"
    r"|here is why|here's why|interpretation|context|details?|description|for example|example)\b"
    r"[^\n:：]{0,40}[:：,\n-]",
    re.IGNORECASE | re.MULTILINE,
)
SENTENCE_END = re.compile(r"[\n;!?]|\.(?:\s|$)")
_LESSER = re.compile(r"\W{0,8}(?:alternativ|runner|other|option|candidate)", re.IGNORECASE)
_EXAMPLE = re.compile(r"^\W{0,4}(?:for )?example\b[^\n]{0,60}:[ \t]*\n(?:[^\n]*\S[^\n]*(?:\n|\Z)){1,6}", re.I | re.M)
_BLANK = re.compile(r"[\s*_#>|\"'“”‘’`:=-]*")
_LONGEST_VALUE, _PREFIX, _MOST_MARKS = 300, 70, 60
_LINKS = {"", ".", ",", "of", "at", "de", "von", "di", "da", "à"}
_CORE = {"emotion", "answer", "label", "sentiment", "feeling", "prediction", "émotion"}


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark; `start` is the beginning of its clause, and `value` the text after it, up to the next mark."""

    is_label: bool
    strong: bool
    secondary: bool
    is_final: bool
    is_core: bool
    start: int
    end: int
    clause: str
    value: str
    about: str
    scale: Scale | None


def marks_of(text: str) -> list[Mark]:
    """All marks of the text with their values, in order."""
    return list(_marks(text))


@lru_cache(maxsize=2)
def _marks(text: str) -> tuple[Mark, ...]:
    """`marks_of`, cached, because label and confidence are read from the same text."""
    matched = few(_MARK.finditer(text))
    clauses = [_clause(text, text.rfind("\n", 0, mark.start()) + 1, mark.start()) for mark in matched]
    explained = _explained(text)
    marks: list[Mark] = []
    for number, (mark, (line, clause, prefix)) in enumerate(zip(matched, clauses, strict=True)):
        is_label = mark["label"] is not None or mark["label_cjk"] is not None
        if is_label and _WORD.match(mark["sep"]) and not _is_plain_subject(mark, prefix):
            continue
        own, sep = _OWN.fullmatch(prefix) is not None and not _WORD.match(mark["sep"]), mark["sep"].strip()
        is_heading = sep == "" and mark.end() == _line_end(text, mark.end())
        if (is_heading and not (own and clause == line)) or (is_label and not is_heading and sep in _LINKS):
            continue
        bounds = [
            other.start()
            for other, (_, start, _) in zip(matched[number + 1 : number + 4], clauses[number + 1 :], strict=False)
            if start > mark.end() or not _WORD.match(other["sep"])
        ]
        following = min(bounds, default=len(text))
        heading = normal_number_text(f"{mark['noun']} {mark['scale'] or ''}")
        scale = scale_of_heading(heading) if mark["scale"] or "percent" in mark["noun"] else None
        marks.append(
            Mark(
                is_label,
                own,
                _is_secondary(mark, own, text[max(line, mark.start() - _PREFIX) : mark.start()])
                or _is_in(explained, mark.start()),
                bool(re.search(r"\b(?:final|correction)\b", f"{prefix} {mark['label'] or ''}", re.IGNORECASE)),
                bool(mark["label_cjk"] or (mark["label"] and mark["label"].lower().rstrip("s") in _CORE)),
                clause,
                mark.end(),
                text[clause : min(following, _statement_end(text, mark.end()))],
                _value(text, mark.end(), following),
                mark["about"] or ("" if scale else (mark["scale"] or "").strip("()[]（） ")),
                scale,
            )
        )
    return tuple(marks)


def _is_plain_subject(mark: re.Match[str], prefix: str) -> bool:
    """Whether a subject such as "The emotion of this face" contains nothing that negates or qualifies what follows."""
    if mark["label_cjk"]:
        return not re.search(r"[不没沒非无無未别]", prefix)
    return is_plain(f"{prefix} {mark['about'] or ''}")


def _is_secondary(mark: re.Match[str], own: bool, before: str) -> bool:
    """Whether the mark introduces a runner-up, or its bracket says that it is not the answer."""
    if mark["rank"] and mark["rank"].strip(" #") != "1":
        return True
    bracket = normal_number_text((mark["scale"] or "").strip("()[]（） "))
    if SECONDARY.search(bracket):
        return True
    return not own and bool(SECONDARY.search(before.rpartition(".")[2]))


def few(matched: Iterator[re.Match[str]]) -> list[re.Match[str]]:
    """The first 60 and the last 60 matches, to bound work that is quadratic in their number."""
    marks = list(matched)
    return marks if len(marks) <= 2 * _MOST_MARKS else marks[:_MOST_MARKS] + marks[-_MOST_MARKS:]


def _clause(text: str, line: int, at: int) -> tuple[int, int, str]:
    """The offsets of the line and of the clause of a mark, and the words between the clause's start and the mark."""
    start = max(line, at - _PREFIX)
    bounds = [bound.end() for bound in _BOUNDARY.finditer(text, start, at)]
    clause = bounds[-1] if bounds else start
    return line, (line if _BLANK.fullmatch(text[line:clause]) and clause - line < 12 else clause), text[clause:at]


def _value(text: str, at: int, following: int) -> str:
    """The value of a mark that ends at `at`: the rest of its line, or the next non-blank line."""
    end = min(following, _line_end(text, at), at + _LONGEST_VALUE)
    if text[at:end].strip(" \t*_#>|\"'“”‘’`:=-") or end == following:
        return text[at:end]
    for _ in range(3):
        if end >= len(text):
            break
        at = end + 1
        end = min(following, _line_end(text, at), at + _LONGEST_VALUE)
        if text[at:end].strip(" \t*_#>|\"'“”‘’`:=-"):
            break
    return text[at:end]


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _statement_end(text: str, at: int) -> int:
    end = SENTENCE_END.search(text, at, at + LONGEST)
    return end.start() if end else min(len(text), at + LONGEST)


def _explained(text: str) -> list[tuple[int, int]]:
    """The spans of explanations and examples in the text."""
    stretches: list[tuple[int, int]] = []
    for matched in _EXPLANATION.finditer(text):
        if not stretches or matched.start() >= stretches[-1][1]:
            end = _line_end(text, matched.end() - 1)
            if _LESSER.match(matched[0]):
                sentence = SENTENCE_END.search(text, matched.end(), end)
                end = sentence.end() if sentence else end
            stretches.append((matched.start(), end))
    for example in _EXAMPLE.finditer(text):
        stretches.append(example.span())
    stretches.sort()
    return stretches


def _is_in(stretches: list[tuple[int, int]], at: int) -> bool:
    place = bisect_right(stretches, (at, len(stretches) + 10**12)) - 1
    return place >= 0 and stretches[place][0] <= at < stretches[place][1]
