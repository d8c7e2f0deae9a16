"""A lenient parser for JSON as models write it: single or curly quotes, bare keys, trailing commas, comments, percent
signs, line breaks and quotation marks inside strings, a missing end. One forward scan; never raises; numbers stay text.

Nothing is guessed: at a syntax error, the object ends with its last complete pair.

    python -c "from emocaliber.reading.lenient_json import objects; print(objects('Sure: {emotion: \\'joy\\',}'))"
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Union

Value = Union["Object", list["Value"], str, None]

_MOST, _MOST_STARTS, _DEEPEST, _LONGEST_KEY = 64, 1000, 8, 60
_SPACE = re.compile(r"(?:[\s\u00a0]+|//[^\n]*|#[^\n]*|/\*(?:[^*]|\*(?!/)){0,100}+\*/)+")
_START = re.compile(r"[{\[]")
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "`": "`"}
_QUOTE_END = re.compile(r"\s*(?:[,:：}\]=;]|$|//|#|/\*|\n\s*[\"'“‘])")
_BARE_KEY = re.compile(rf"[^\s:：={{}}\[\],\"'“”‘’][^:：={{}}\[\],\"'“”‘’\n]{{0,{_LONGEST_KEY}}}")
_COLON = re.compile(r"[:：]|=>?")
_BARE = re.compile(r"(?:[^,{}\[\]\n\"/#;]|/(?![/*]))+")
_COMMA = re.compile(r"[,;，]")


@dataclass
class Object:
    """An object as a list of pairs, so that repeated keys are kept; `start` and `end` are its offsets in the text."""

    start: int
    pairs: list[tuple[str, Value]] = field(default_factory=list)
    end: int = 0


class _BrokenError(Exception):
    """The rest cannot be parsed; `value` is the part read so far."""

    def __init__(self, at: int, value: Value) -> None:
        super().__init__()
        self.at, self.value = at, value


def objects(text: str) -> list[tuple[int, int, Object | list[Value]]]:
    """The top-level objects and lists in the text, with their offsets, in order: at most 64, from at most 1,000
    brackets."""
    matched: list[tuple[int, int, Object | list[Value]]] = []
    at = 0
    for _ in range(_MOST_STARTS):
        start = _START.search(text, at)
        if start is None or len(matched) == _MOST:
            break
        try:
            value, at = _value(text, start.start(), 0)
        except _BrokenError as broken:
            value, at = broken.value, max(broken.at, start.end())
        if (isinstance(value, Object) and value.pairs) or (isinstance(value, list) and value):
            matched.append((start.start(), at, value))
    return matched


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _value(text: str, at: int, depth: int) -> tuple[Value, int]:
    at = _skip(text, at)
    opening = text[at : at + 1]
    if opening in ("{", "["):
        if depth >= _DEEPEST:
            raise _BrokenError(at + 1, None)
        return _object(text, at, depth) if opening == "{" else _list(text, at, depth)
    if opening in _QUOTES:
        return _string(text, at)
    bare = _BARE.match(text, at)
    if bare is None or not bare[0].strip():
        raise _BrokenError(at, None)
    content = bare[0].strip()
    if bare.end() >= len(text) and not re.fullmatch(r"[0-9]?\.[0-9]{2,}", content):
        raise _BrokenError(bare.end(), None)  # the end is missing, and perhaps more of this value
    return (None if content.lower() in ("null", "none") else content), bare.end()


def _string(text: str, at: int) -> tuple[str, int]:
    """The string, up to the first closing quote that is followed by something that can follow a value."""
    quote, start = _QUOTES[text[at]], at + 1
    at = start
    while True:
        end = text.find(quote, at)
        if end < 0:
            raise _BrokenError(len(text), None)
        if text[end - 1] != "\\" and _QUOTE_END.match(text, end + 1):
            return text[start:end].replace("\\" + quote, quote).replace("\\n", "\n"), end + 1
        at = end + 1


def _list(text: str, at: int, depth: int) -> tuple[list[Value], int]:
    values: list[Value] = []
    at = _skip(text, at + 1)
    while text[at : at + 1] != "]":
        try:
            value, at = _value(text, at, depth + 1)
        except _BrokenError as broken:
            raise _BrokenError(broken.at, [*values, broken.value] if broken.value else values) from None
        values.append(value)
        at = _after_value(text, at, values, "]")
    return values, at + 1


def _object(text: str, at: int, depth: int) -> tuple[Object, int]:
    parsed = Object(at)
    at = _skip(text, at + 1)
    while text[at : at + 1] != "}":
        if at >= len(text):
            parsed.end = at
            return parsed, at
        key, at = _key(text, at, parsed)
        try:
            value, at = _value(text, at, depth + 1)
        except _BrokenError as broken:
            if broken.value:
                parsed.pairs.append((key, broken.value))
            raise _BrokenError(broken.at, parsed) from None
        parsed.pairs.append((key, value))
        at = _after_value(text, at, parsed, "}")
    parsed.end = at + 1
    return parsed, at + 1


def _key(text: str, at: int, parsed: Object) -> tuple[str, int]:
    if text[at] in _QUOTES:
        try:
            key, at = _string(text, at)
        except _BrokenError as broken:
            raise _BrokenError(broken.at, parsed) from None
    else:
        bare = _BARE_KEY.match(text, at)
        if bare is None:
            raise _BrokenError(at, parsed)
        key, at = bare[0].strip(), bare.end()
    at = _skip(text, at)
    colon = _COLON.match(text, at)
    if colon is None:
        if text[at - len(key) : at][:1].isdigit() or key[:1].isdigit():
            del parsed.pairs[-1:]  # a decimal comma: the value before it is half a number
        raise _BrokenError(at, parsed)
    return key, colon.end()


def _after_value(text: str, at: int, so_far: Object | list[Value], end: str) -> int:
    """The offset after the comma, or of the closing bracket or the next quoted key; anything else is a syntax error."""
    at = _skip(text, at)
    comma = _COMMA.match(text, at)
    if comma:
        return _skip(text, comma.end())
    if text[at : at + 1] == end or (end == "}" and (text[at : at + 1] in _QUOTES or at >= len(text))):
        return at
    if isinstance(so_far, Object):
        del so_far.pairs[-1:]
    raise _BrokenError(at, so_far)
