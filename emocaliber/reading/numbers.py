"""Parsing the probability in a short statement, including everything that qualifies the number.

A number is accepted only if the entire statement is understood. It may be surrounded by words that do not change it
("about", "I am", "sure", "in this answer"). A negation, bound, condition, second number or any unknown word makes it
not a number, because a wrong confidence is worse than a missing one. Formats: 0.85, .85, 0,85, 85%, 85,5%, 85 per cent,
850‰, 17/20, 8.5 out of 10, ninety percent; digits of any single script.

A bare 1 is 1.0 and a bare 0 is 0.0, because the prompt asks for a number from 0 to 1, unless a scale is stated. Any
other bare integer is out of range, never silently a percentage.

    python -c "from emocaliber.reading.numbers import read_number; print(read_number('about 85% sure'))"
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from emocaliber.core.predictions import State
from emocaliber.reading.scales import UNCLEAR, Scale, find_scale, scale_of_context
from emocaliber.reading.vocabulary import CONFIDENCE, CONFIDENCE_CJK, HIGH, LABEL_WORDS, LOW, MIDDLE, NUMBER_WORDS

LONGEST = 200
"""Characters; a longer statement is not parsed."""

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
"""Our own table of confidences for verbal expressions; used only if a caller passes it to `read_response`."""

_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_NUMERALS = {word: value for value, word in enumerate(f"{_ONES} seventeen eighteen nineteen".split())}
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_WORDS = {**_NUMERALS, **_TENS, "hundred": 100, "one hundred": 100, "a hundred": 100}
_SPELLED = (
    rf"(?:(?:{'|'.join(_TENS)})(?:[ -](?:one|two|three|four|five|six|seven|eight|nine))?"
    rf"|(?:one |a )?hundred|{'|'.join(sorted(_NUMERALS, key=len, reverse=True))})"
)
_UNIT = (
    r"(?:%|percent\b|per[ -]?cent\b|pct\b\.?|percentage\b(?! point)|prozent\b|pour cent\b|por ciento\b|por cento\b"
    r"|per cento\b|процент(?:ов|а)?\b)"
)
_MILLE = r"(?:‰|per ?mille?\b|permil\b)"
_DIGITS = r"[0-9]{1,20}+"
_DECIMAL = (
    rf"(?:0,[0-9]{{1,20}}+|[0-9]{{1,2}},[0-9]{{1,2}}(?=\s?{_UNIT})"
    rf"|{_DIGITS}(?:\.[0-9]{{0,20}}+)?(?:e[+-]?[0-9]{{1,2}}(?![0-9]))?|\.{_DIGITS})"
)
_BOTTOM = rf"(?P<bottom>{_DIGITS}(?:\.0+(?![0-9]))?|{_SPELLED}\b)"
_END = r"(?![\w%‰/]|[.,][0-9]|-(?:\s|$))"
QUANTITY = (
    rf"(?<![\w.,/%+-])(?P<sign>[-+]?)(?:(?P<top>{_DECIMAL})|(?P<spelled>{_SPELLED})\b)"
    rf"(?:\s{{0,2}}(?:/|out of|of|in|su|sur|de|von|из)\s{{0,2}}(?:a (?:possible|total of)\s)?{_BOTTOM}"
    rf"|\s?(?P<percent>{_UNIT})|\s?(?P<mille>{_MILLE}))?{_END}"
)
"""A number in text with its scale or unit, up to its end: 0.8_5 does not match."""

_QUANTITY = re.compile(QUANTITY)
_ANY = re.sub(r"[?]P<[a-z]+>", "?:", QUANTITY)
_CHANGED = re.compile(
    r"\(?\b(?:lowered|reduced|raised|increased|revised|adjusted|changed|down|up) from (?:about )?"
    rf"{_ANY}[^()\n]{{0,80}}\)?|\bnot {_ANY},? (?=(?:but|it is|it's)\b)"
)
"""Statements of a previous or rejected number."""
_RANGE = re.compile(r"[0-9]\s?%?\s?(?:[-–—~]|\.\.|…|to\b|or\b|and\b)\s?\.?[0-9]")
_REASON = re.compile(
    r"\b(?:because|since|as (?=the|there|it|both|she|he|they)|given|due to|based on|considering|owing to|thanks to"
    r"|judging)\b"
    r"|,\s(?:so|hence|thus|therefore|the (?:picture|image|photo|face|lighting|eyes|mouth|expression))\b"
    r"|[.!?](?=\s)|[;:](?=\s)(?!\s{1,3}[~.]?[0-9])|\n"
)
_RETRACTED = re.compile(r"[.!?;:,\s]{0,5}(?:not\b|no\b|wait|actually|just kidding|or rather|rather|correction|scratch)")
_COUNTED = re.compile(r"\b(?:label|class|option|choice|prediction|number)\s\Z")
_ITEM = re.compile(r"(?:[0-9][.:)]|\.)\s{0,3}[^\W0-9]")
_DASHES = frozenset("-–—→|=")
_MARKS = frozenset("-–—→|#>•")
_NOUN = re.compile(rf"\b(?:{CONFIDENCE})\b")
_NOUN_CJK = re.compile(rf"(?:{CONFIDENCE_CJK})[为為是约約はが]{{0,2}}")
_FACES = range(0x1F600, 0x1F650)
_PHRASE = re.compile(r"\b(?:most (?:likely|probably)|best (?:guess|estimate|fit|answer|match|choice|described))\b")
_TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[^\s\w.,:;!?()\[\]{}'\"|_]")
_WRAPPING = " \t\r\n{}[]()\"'*`_|“”‘’"
_AROUND = str.maketrans(
    {
        "％": "%",
        "﹪": "%",
        "٪": "%",
        "−": "-",
        "*": None,
        "`": None,
        "$": None,
        "’": "'",
        "★": None,
        "☆": None,
        "⭐": None,
    }
)


def read_number(text: str, scale: Scale | None = None, context: str = "") -> float | State:
    """The stated probability in [0, 1]; else MISSING_CONFIDENCE, NOT_A_NUMBER or OUT_OF_RANGE.

    `scale` is a scale stated elsewhere, such as in the heading. `context` is the surrounding text: if it mentions a
    scale, bare integers are read on that scale.
    """
    if len(text) > LONGEST:
        return State.NOT_A_NUMBER
    plain = normal_number_text(text).strip(_WRAPPING)
    plain += ")" * (plain.count("(") - plain.count(")")) + "]" * (plain.count("[") - plain.count("]"))
    plain = _CHANGED.sub(" ", plain).strip()
    if not plain:
        return State.MISSING_CONFIDENCE
    own, plain = find_scale(plain)
    return State.NOT_A_NUMBER if own == UNCLEAR else _qualified(plain, own or scale, context)


def _qualified(plain: str, scale: Scale | None, context: str) -> float | State:
    """The number in a statement whose scale has been removed, if the surrounding words do not change it."""
    numbers = list(_QUANTITY.finditer(plain))
    if not numbers or _is_list_item(numbers[0], plain):
        return State.NOT_A_NUMBER
    reason = _REASON.search(plain, numbers[0].end())
    end = reason.start() if reason else len(plain)
    numbers = [number for number in numbers if number.start() < end]
    values = [_value(number, scale, context) for number in numbers]
    retracted = reason is not None and (
        _RETRACTED.match(plain, reason.start()) or plain[reason.start() - 1 : reason.end()].count("?") > 0
    )
    ranges = len(numbers) > 1 and _RANGE.search(plain, numbers[0].start(), end)
    counted = _COUNTED.search(plain, 0, numbers[0].start()) and not numbers[0]["percent"]
    if retracted or ranges or counted or any(value != values[0] for value in values):
        return State.NOT_A_NUMBER
    around = _QUANTITY.sub(" ", plain[:end])
    return values[0] if isinstance(values[0], State) or _leaves(around, values[0]) else State.NOT_A_NUMBER


def read_words(text: str, words: Mapping[str, float]) -> float | None:
    """The table's value for the text, case-insensitive; None if it is not in the table."""
    return words.get(text[:LONGEST].strip(_WRAPPING + ".").lower())


def normal_number_text(text: str) -> str:
    """The text in lower case, with unified percent and minus signs, and ASCII digits for numbers in a single script."""
    plain = _SAY.sub(r"\1 ", text.replace("\\%", "%").translate(_AROUND).lower())
    plain = _NOUN_CJK.sub(" confidence ", _PHRASE.sub(" ", plain))
    return plain if plain.isascii() else _CJK_AFTER.sub(" ", usual_percents(_FOREIGN.sub(_ascii_digits, plain)))


def usual_percents(text: str) -> str:
    """The text with Chinese, Japanese and Korean percentages as "80%": 百分之八十, 八成把握, 8割, 80퍼센트."""
    text = _PERCENT_ZH.sub(lambda matched: f" {_chinese_number(matched[1])}% ", text)
    text = _TENTHS_ZH.sub(lambda matched: f"{_chinese_number(matched[1])}0%", text)
    text = _TENTHS.sub(r"\g<1>0%", text.replace("퍼센트", "%").replace("パーセント", "%"))
    return _SURE_ZH.sub(r" \1 的把握", text)


def _chinese_number(text: str) -> str:
    """A number from 0 to 100 in Chinese numerals as digits; other text unchanged."""
    if text.isascii():
        return text
    tens, ten, ones = text.partition("十")
    values = [_CHINESE.find(sign) for sign in (tens or "一", ones or "零")] if ten else [0, _CHINESE.find(text)]
    return "100" if text == "百" else text if min(values) < 0 else str(10 * values[0] + values[1])


_SAY = re.compile(
    r"\b(i|we)(?:'d|\swould)\s(?=(?:say|estimate|put|rate|guess|give|assign|choose|pick|select|go|call|describe|peg|place|label|settle|judge|classify)\b)"
)
_CHINESE = "零一二三四五六七八九"
_PERCENT_ZH = re.compile(r"百分之([零一二三四五六七八九十百]{1,3}|[0-9]{1,3}(?:\.[0-9]{1,4})?)")
_TENTHS_ZH = re.compile(r"(?<![0-9.十百])([1-9一二三四五六七八九])成(?=的?(?:把握|信心|可能|概率|确定))")
_TENTHS = re.compile(r"(?<![0-9.])([1-9])\s?割(?!引)")
_SURE_ZH = re.compile(r"(?<![0-9.])([0-9]{1,3}(?:\.[0-9]{1,2})?\s?%)\s?的?把握")
_CJK_AFTER = re.compile(r"(?<=[0-9%])(?=[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3])")
_FOREIGN = re.compile(r"\d{1,40}(?:[.,٫．]\d{1,40})?")


def _ascii_digits(number: re.Match[str]) -> str:
    """The number in ASCII digits; unchanged if its digits are from several scripts."""
    zeros = {ord(digit) - unicodedata.decimal(digit) for digit in number[0] if digit.isdigit() and digit.isdecimal()}
    if len(zeros) != 1 or zeros == {ord("0")}:
        return number[0]
    return "".join(str(unicodedata.decimal(sign)) if sign.isdecimal() else "." for sign in number[0])


def _is_list_item(number: re.Match[str], plain: str) -> bool:
    """Whether the number is that of a list item, "1." or "1:" before more words."""
    if number["bottom"] or number["percent"] or number["mille"] or not number["top"]:
        return False
    return (
        re.fullmatch(r"[0-9]{1,2}\.?", number["top"]) is not None and _ITEM.match(plain, number.end() - 1) is not None
    )


def is_plain(text: str) -> bool:
    """Whether a sentence, with its label replaced by "answer", contains only words that state it."""
    return all(
        token in LABEL_WORDS or token in _MARKS or ord(token[0]) in _FACES
        for token in _TOKEN.findall(_NOUN.sub(" ", normal_number_text(text)))
    )


def _leaves(around: str, value: float) -> bool:
    """Whether the words around a number are compatible with it and do not change it."""
    for token in _TOKEN.findall(_NOUN.sub(" ", around)):
        if token in HIGH:
            fits = value >= 0.5
        elif token in LOW:
            fits = value <= 0.5
        elif token in MIDDLE:
            fits = 0.25 <= value <= 0.75
        else:
            fits = token in NUMBER_WORDS or token in _DASHES
        if not fits:
            return False
    return True


def _value(number: re.Match[str], scale: Scale | None, context: str) -> float | State:
    value = _amount(number["top"] or number["spelled"])
    negative = number["sign"] == "-" and value > 0
    if number["bottom"]:
        bottom = _amount(number["bottom"])
        if bottom == 0 or value == bottom == 50:  # 50/50 does not mean 1.0
            return State.NOT_A_NUMBER
        value /= bottom
    elif number["percent"]:
        value /= 100
    elif number["mille"]:
        value /= 1000
    elif number["spelled"]:
        return State.NOT_A_NUMBER
    elif scale is not None:
        return scale.share(value, is_integer=_is_integer(number)) if not negative else State.OUT_OF_RANGE
    elif context and (_is_integer(number) or value > 1):
        stated = _context_scale(context)
        if stated is not None:
            return stated.share(value, is_integer=_is_integer(number))
    return State.OUT_OF_RANGE if negative or value > 1 else value


@lru_cache(maxsize=2)
def _context_scale(context: str) -> Scale | None:
    return scale_of_context(normal_number_text(context))


def _is_integer(number: re.Match[str]) -> bool:
    return "." not in number["top"] and "," not in number["top"] if number["top"] else True


def _amount(text: str) -> float:
    if text[-1].isalpha():
        first, _, last = text.replace("-", " ").partition(" ")
        return float(_WORDS[text] if text in _WORDS else _WORDS[first] + _WORDS[last])
    return float(text.replace(",", "."))
