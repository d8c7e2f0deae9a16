"""Scales of confidence: "(out of 10)", "on a scale of 0 to 100", "(%)", "5-point".

A scale given only by its number of points, or starting at 1 (except the customary 1 to 10 and 1 to 100), does not
determine which probabilities its numbers mean; nor does one whose legend reverses it ("0 = sure").

    python -c "from emocaliber.reading.scales import find_scale; print(find_scale('8 (on a scale of 0 to 10)'))"
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from emocaliber.core.predictions import State

_TENTH, _PERCENT = 10.0, 100.0
_NAMES = {"three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "ten": 10, "twenty": 20, "hundred": 100}
_END = rf"(?:[0-9]{{1,6}}(?:\.0{{1,4}})?|{'|'.join(_NAMES)})(?![0-9\w])"
_ENDS = rf"(?P<low>[0-9](?:\.0{{1,4}})?)\s?%?\s?(?:-|–|—|~|to|and|through|\.\.\.?|…)\s?(?P<high>{_END})\s?%?"
_SIGNS = r"[\s\"':=(]{0,6}"
_SCALE = re.compile(
    rf"(?:(?:on|in|using|with|from)\s)?(?:(?:a|the|my)\s)?\b(?:scale|range|rating|ranging|rate[sd]?|score[sd]?)\b{_SIGNS}"
    rf"(?:(?:is|was|of|from|between|goes|runs)\s){{0,3}}{_ENDS}\)?"
    rf"|(?:on\s)?(?:(?:a|the)\s)?{_ENDS.replace('low', 'low_2').replace('high', 'high_2')}[\s-](?:point\s)?scale"
    r"|\(\s?(?:(?:from|between|scale|range|number|value|score|decimal|of|on|a|:)\s){0,4}"
    rf"{_ENDS.replace('low', 'low_3').replace('high', 'high_3')}"
    r"[^()\n0-9]{0,40}\)"
    rf"|(?:on\s)?(?:a|the|my)\sscale\sof\s(?P<high_4>{_END})(?!\s?(?:-|–|to\b))"
)
_OUT_OF = re.compile(rf"\(\s?(?:(?:rated\s)?(?:out\s)?of\s|/\s?|max(?:imum)?[\s:=]{{1,3}})(?P<high>{_END})\s?\)")
_OUT_OF_ANYWHERE = re.compile(rf"(?:\bout of|\bmax(?:imum)?|/)[\s\"':=]{{0,5}}(?P<high>{_END})")
_POINTS = re.compile(
    rf"(?<!of )(?<!/)\b(?P<high>{_END.partition('(?!')[0]})[\s-]?(?:point|star|level)s?\b(?:\s\w{{1,20}})?(?:\sscale)?"
)
_IN_PERCENT = re.compile(r"\(\s?(?:(?:in|as|a)\s){0,2}(?:%|percent|per cent|pct|percentage)\s?\)")
_LEGEND = re.compile(
    r"(?P<end>[0-9]{1,4})\s?(?:=|means|meaning|being|stands for|is)\s?(?:not\s(?P<not>)|[a-z]+\s){0,3}[a-z]+"
)
_LEGEND_LINE = re.compile(r"\([^()\n]{0,160}\)")
_SURE = re.compile(r"\b(?:sure|certain|confident|certainty|confidence|high|highest|best|maximum|fully|absolute)\b")
_UNSURE = re.compile(
    r"\b(?:not|no|none|un\w+|guess\w*|low|lowest|random|minimum|least|doubt\w*|zero|worst|chance|impossible)\b"
)


@dataclass(frozen=True, slots=True)
class Scale:
    """A scale from 0 to `top`, the number that means certainty; None if that is unclear."""

    top: float | None

    def share(self, value: float, *, is_integer: bool) -> float | State:
        """The number as a probability. NOT_A_NUMBER if the scale is unclear, or if the number looks like a fraction of
        1 although the scale goes beyond 1."""
        if self.top is None or (self.top > 1 and not is_integer and value <= 1):
            return State.NOT_A_NUMBER
        return value / self.top if value <= self.top else State.OUT_OF_RANGE


UNCLEAR = Scale(None)


def find_scale(text: str) -> tuple[Scale | None, str]:
    """The scale in a short statement (lower case), or None, and the statement without it."""
    scales, rest = [], text
    for bracket in _LEGEND_LINE.findall(text):
        legend = _legend(bracket)
        if legend is not None:
            scales.append(legend)
            rest = rest.replace(bracket, " ", 1)
    for pattern in (_SCALE, _OUT_OF, _POINTS, _IN_PERCENT):
        scales += [_scale(matched) for matched in pattern.finditer(rest)]
        rest = pattern.sub(" ", rest)
    distinct = set(scales)
    return (None if not distinct else distinct.pop() if len(distinct) == 1 else UNCLEAR), rest


def scale_of_context(text: str) -> Scale | None:
    """The scale mentioned in a longer text (lower case), or None; UNCLEAR if it may not be that of the confidence."""
    distinct = {_scale(matched) for matched in _SCALE.finditer(text)} | {
        _scale(matched) for matched in _POINTS.finditer(text)
    }
    if not distinct:
        return UNCLEAR if _OUT_OF_ANYWHERE.search(text) or _legend(text[:2000]) is not None else None
    return distinct.pop() if len(distinct) == 1 else UNCLEAR


def scale_of_heading(text: str) -> Scale | None:
    """The scale in a heading's suffix (lower case): "(0-10)", "out of 10", "%", "in percent"."""
    inner = text.strip(" ()[]:_-")
    matched, _ = find_scale(f"({inner})")
    return matched


def _scale(matched: re.Match[str]) -> Scale:
    groups = matched.groupdict()
    if "high" not in groups:
        return Scale(_PERCENT)
    high = next((_number(groups[name]) for name in ("high", "high_2", "high_3", "high_4") if groups.get(name)), 0.0)
    if "low" not in groups:
        return Scale(high if matched.re is not _POINTS or high in (_TENTH, _PERCENT) else None)
    low = next((_number(groups[name]) for name in ("low", "low_2", "low_3") if groups.get(name)), 0.0)
    customary = low == 0 or (low == 1 and high in (_TENTH, _PERCENT))
    return Scale(high if customary and high > low else None)


def _legend(text: str) -> Scale | None:
    """The scale that a legend describes, or None; UNCLEAR if its highest number does not mean certainty."""
    ends = {float(pair["end"]): pair[0].partition(pair["end"])[2] for pair in _LEGEND.finditer(text)}
    if not ends:
        return None
    high = max(ends)
    rises = _SURE.search(ends[high]) and not _UNSURE.search(ends[high])
    starts = len(ends) == 1 or (min(ends) == 0 and _UNSURE.search(ends[0.0]))
    return Scale(high) if rises and starts and high > 0 else UNCLEAR


def _number(text: str) -> float:
    return float(_NAMES[text]) if text in _NAMES else float(text)
