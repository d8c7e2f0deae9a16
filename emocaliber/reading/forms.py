"""Forms: the ways in which an answer without tags is written: JSON, marked prose, a list of shares, a bare label.

Each form gives a Statement of raw texts, or None where the text does not have that form; what the texts mean is the
reader's business.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from emocaliber.core.predictions import State
from emocaliber.reading.labels import LabelNames
from emocaliber.reading.numbers import NUMBER, leading_number


@dataclass(frozen=True, slots=True)
class Statement:
    """What was stated, as raw texts: a label, a confidence, and (label, share) pairs of a distribution."""

    label: str | None = None
    confidence: str | None = None
    shares: tuple[tuple[str, str], ...] = ()


_LABEL_KEYS = {"answer", "emotion", "label", "sentiment", "feeling", "prediction"}
_CONFIDENCE_KEYS = {"confidence", "probability", "certainty"}
_SHARES_KEYS = {"distribution", "probabilities"}
_LONGEST_JSON = 20_000
_MOST_OBJECTS = 8

_MARKER = re.compile(
    r"(?<![^\W_])(?:(?P<label>emotion|answer|label|sentiment|feeling|prediction)|confidence|probability|certainty)"
    r"\s{0,2}(?:[:=]|is\b:?)",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[\n;!?]|\.(?:\s|$)")
_SURE = re.compile(rf"(?<![\w.,/%+-])(?P<number>{NUMBER})\s(?:confident|confidence|certain|sure)\b", re.IGNORECASE)
_LONGEST_VALUE = 300

_BULLET = re.compile(r"\s*(?:[-•]\s|[0-9]{1,2}[.)]\s)?\s*")
_ENTRY_END = re.compile(r",(?![0-9])|;")
_ENTRY = re.compile(
    rf"(?P<label>[^0-9]{{1,80}}?)[\s:=(–]*(?P<number>{NUMBER})[\s)]*\.?"
    rf"|(?P<number_first>{NUMBER})[\s:]*(?P<label_last>[^0-9]{{1,80}})"
)
_LONGEST_ENTRY = 160
_HEADING = re.compile(r"(?:distribution|probabilities)\s?:\s?", re.IGNORECASE)


def untagged(text: str, names: LabelNames) -> Statement | None:
    """The first of the forms that the text has; None where it has none."""
    plain = text.translate({ord("*"): None, ord("`"): None})
    return read_json(text) or read_prose(plain) or read_named_shares(plain, names) or read_bare(plain, names)


class _Object(list[tuple[str, Any]]):
    """A JSON object as its pairs, so that a key given twice is seen twice."""


def read_json(text: str) -> Statement | None:
    """The last JSON object of the text; numbers stay text and go through the one number grammar."""
    end = text.rfind("}") + 1
    start = end
    for _ in range(_MOST_OBJECTS):
        start = text.rfind("{", max(0, end - _LONGEST_JSON), start)
        if start < 0:
            return None
        try:
            parsed = json.loads(
                text[start:end], object_pairs_hook=_Object, parse_int=str, parse_float=str, parse_constant=str
            )
        except (ValueError, RecursionError):
            continue
        return _json_statement(parsed)
    return None


def _json_statement(pairs: _Object) -> Statement | None:
    texts = [(key.casefold(), "" if value is None else value) for key, value in pairs]
    labels = [value for key, value in texts if key in _LABEL_KEYS and isinstance(value, str)]
    confidences = [value for key, value in texts if key in _CONFIDENCE_KEYS and isinstance(value, str)]
    nested = [value for key, value in texts if key in _SHARES_KEYS and isinstance(value, _Object)]
    shares = nested[-1] if nested else [] if labels or confidences else pairs
    if not labels and not all(isinstance(share, str) for _, share in shares):
        return None
    return Statement(
        " / ".join(labels) if labels else None,
        confidences[-1] if confidences else None,
        tuple((label, share) for label, share in shares if isinstance(share, str)),
    )


def read_prose(text: str) -> Statement | None:
    """Marked values ("Emotion: joy. Confidence: 85%"): the last label and the confidence that goes with it."""
    marks = list(_MARKER.finditer(text))
    values: list[tuple[bool, str]] = []
    for index, mark in enumerate(marks):
        following = marks[index + 1].start() if index + 1 < len(marks) else len(text)
        values.append((mark["label"] is not None, text[mark.end() : min(mark.end() + _LONGEST_VALUE, following)]))
    labels = [index for index, (is_label, _) in enumerate(values) if is_label]
    if not labels:
        return None
    stated = [index for index, (is_label, _) in enumerate(values) if not is_label]
    paired = [index for index in stated if index > labels[-1]] or (stated if len(labels) == 1 else [])
    label = _SENTENCE_END.split(values[labels[-1]][1], maxsplit=1)[0]
    if paired:
        return Statement(label, leading_number(values[paired[-1]][1].split("\n", 1)[0]))
    return Statement(_SURE.sub(" ", label), read_sure(text[marks[labels[-1]].end() :]))


def read_confidence(text: str) -> str | None:
    """The last confidence stated in prose alone; None where there is none."""
    stated = [mark for mark in _MARKER.finditer(text) if not mark["label"]]
    if stated:
        return leading_number(text[stated[-1].end() :].split("\n", 1)[0])
    return read_sure(text)


def read_sure(text: str) -> str | None:
    """The last number that "confident", "confidence", "certain" or "sure" follows; None where there is none."""
    numbers = [sure["number"] for sure in _SURE.finditer(text)]
    return numbers[-1] if numbers else None


def read_shares(text: str) -> tuple[tuple[str, str], ...]:
    """The pairs of a list of shares ("joy 0.6, awe 0.3" or one a line) at the text's end; empty where it is not one."""
    shares: list[tuple[str, str]] = []
    for line in reversed(text.splitlines()):
        if not line.strip():
            if shares:
                break
            continue
        entries = _entries(line)
        if not entries:
            break
        shares.extend(reversed(entries))
    return tuple(reversed(shares))


def read_named_shares(text: str, names: LabelNames) -> Statement | None:
    """A list of shares of which one at least names a candidate."""
    shares = read_shares(text)
    return Statement(shares=shares) if any(not isinstance(names.read(label), State) for label, _ in shares) else None


def read_bare(text: str, names: LabelNames) -> Statement | None:
    """A last line that is a candidate's name and nothing else."""
    lines = text.rstrip().rsplit("\n", 1)
    return Statement(lines[-1]) if names.is_name(lines[-1]) else None


def _entries(line: str) -> list[tuple[str, str]]:
    opening = _BULLET.match(line)
    rest = line[opening.end() if opening else 0 :].rstrip().rstrip(",;")
    rest = _HEADING.sub("", rest, count=1)
    entries = []
    for part in _ENTRY_END.split(rest):
        entry = _ENTRY.fullmatch(part.strip()) if len(part) <= _LONGEST_ENTRY else None
        if entry is None:
            return []
        label, number = entry["label"] or entry["label_last"], entry["number"] or entry["number_first"]
        entries.append((label.strip(), number))
    return entries
