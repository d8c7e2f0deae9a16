"""Numbers: a strict ASCII grammar of probabilities. Not `float()`, which takes nan, inf, 0.8_5 and full-width digits.

0.85, .85, 85%, 85 percent, 85/100, 17/20, 85 out of 100. A comma is a decimal mark only where it can be nothing
else: after a lone 0 (0,85), or in a percentage with one or two decimals (85,5%). A bare 1 is 1.0 and a bare 0 is
0.0, since the question asks for a number from 0 to 1; any other bare integer is out of range, never silently a
percentage.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from emocaliber.core.predictions import State

_DIGITS = r"[0-9]{1,20}+"
_DECIMAL = rf"(?:0,[0-9]{{1,20}}+|[0-9]{{1,2}},[0-9]{{1,2}}(?=\s?%)|{_DIGITS}(?:\.[0-9]{{0,20}}+)?|\.{_DIGITS})"
NUMBER = (
    rf"[-+]?{_DECIMAL}(?:\s?/\s?{_DIGITS}|\sout\sof\s{_DIGITS}|\s?%|\spercent)?"
    r"(?![\w%/]|[.,]\w)(?!\s?(?:[-–—~]|to\b|or\b)\s?\.?[0-9])"
)
"""A number as text, ended where it ends: 0.8_5, 1e-3 and the range 0.8-0.9 do not match."""

_PARTS = re.compile(
    rf"(?P<sign>[-+]?)(?P<top>{_DECIMAL})(?:\s?(?:/|out\sof)\s?(?P<bottom>{_DIGITS})|(?P<percent>\s?%|\spercent))?"
)
_HEDGE = r"(?:(?:about|around|approximately|approx\.|roughly)\s|[~≈])?\s?"
_STATED = re.compile(rf"{_HEDGE}(?P<number>{NUMBER})\.?", re.IGNORECASE)
_WRAPPING = " \t\r\n{}[]()\"'*`"
_LONGEST = 200

CONFIDENCE_WORDS: Mapping[str, float] = {
    "almost certain": 0.95,
    "certain": 0.95,
    "very confident": 0.9,
    "very high": 0.9,
    "very likely": 0.9,
    "confident": 0.75,
    "high": 0.75,
    "likely": 0.75,
    "fairly confident": 0.65,
    "moderate": 0.5,
    "medium": 0.5,
    "unsure": 0.3,
    "uncertain": 0.3,
    "low": 0.25,
    "unlikely": 0.2,
    "very low": 0.1,
    "very unlikely": 0.1,
}
"""A table for words in place of a number; ours, and used only where a caller passes it to `read_response`."""


def read_number(text: str) -> float | State:
    """The probability, in [0, 1], that the whole text states; else MISSING_CONFIDENCE, NOT_A_NUMBER or OUT_OF_RANGE."""
    if len(text) > _LONGEST:
        return State.NOT_A_NUMBER
    stripped = text.strip(_WRAPPING)
    if not stripped:
        return State.MISSING_CONFIDENCE
    stated = _STATED.fullmatch(stripped)
    return State.NOT_A_NUMBER if stated is None else _value(stated["number"])


def leading_number(text: str) -> str:
    """The number with which a stretch of prose opens, or the stretch itself (shortened) where it opens with none."""
    opening = text[:_LONGEST].strip(_WRAPPING)
    stated = _STATED.match(opening)
    return stated["number"] if stated else opening


def read_words(text: str, words: Mapping[str, float]) -> float | None:
    """The table's value for the text, compared without case; None where the table lacks it."""
    return words.get(text[:_LONGEST].strip(_WRAPPING + ".").lower())


def _value(number: str) -> float | State:
    parts = _PARTS.fullmatch(number.lower())
    if parts is None:
        return State.NOT_A_NUMBER
    value = float(parts["top"].replace(",", "."))
    if parts["bottom"] is not None:
        if int(parts["bottom"]) == 0:
            return State.NOT_A_NUMBER
        value /= int(parts["bottom"])
    elif parts["percent"]:
        value /= 100
    if parts["sign"] == "-" and value > 0:
        return State.OUT_OF_RANGE
    return value if value <= 1 else State.OUT_OF_RANGE
