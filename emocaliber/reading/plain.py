"""Removing markup from text: Markdown, LaTeX and HTML; XML attributes become JSON."""

from __future__ import annotations

import json
import re

from emocaliber.reading.numbers import usual_percents
from emocaliber.reading.shares import normal_spaces

_PAIR_END = re.compile(r".*(?:,(?=[\s\"'])|\})", re.DOTALL)
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
_NEXT_QUESTION = re.compile(r"\n[ #*]{0,5}(?:Question|Q|Instruction|Input|Prompt)\b[^\n:：]{0,10}[:：]", re.IGNORECASE)
_SUPPOSED_FORM = re.compile(
    r"\b[Ii]f\b(?! (?:[Ii] (?:had|have|must|need|am|were (?:forced|pressed|asked|to))|forced|pressed|asked|required)\b)"
    r"[^.\n]{1,120}\bwould\b[^\n]{0,80}:\s{0,3}\n"
)
"""Excludes "if I had to choose, I would say:", which introduces an answer."""
_ASKED = re.compile(r"\bhow (?:sure|confident|certain) (?:am i|i am|are you)\b[^?\n]{0,40}[?:]", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"([\w:-]{1,30})\s?=\s?(?:\"([^\"<>\n]{0,100})\"|'([^'<>\n]{0,100})')")
_ELEMENT = re.compile(
    r"<(?P<name>[a-z][\w:-]{0,30})(?P<attributes>(?:\s{1,3}[\w:-]{1,30}\s?=\s?(?:\"[^\"<>\n]{0,100}\"|'[^'<>\n]{0,100}')){1,8})"
    r"\s?(?:/>|>(?P<content>[^<>\n]{0,100})</(?P=name)>)",
    re.IGNORECASE,
)
_BREAK = re.compile(r"<\s?(?:br|p|hr)\s?/?\s?>", re.IGNORECASE)
_OF_IMAGE = re.compile(
    r"^[ *#]{0,5}(?:image|photo|picture|frame|sample|face)\s#?[0-9]{1,5}(?:\s?(?:/|of)\s?[0-9]{1,5})?\s?[:.)]\s(?=\S)",
    re.IGNORECASE | re.MULTILINE,
)
_SQUARE_HEADING = re.compile(r"^\s{0,3}\[(answer|confidence|emotion|label)\]\s{0,3}$", re.IGNORECASE | re.MULTILINE)
_QUOTED = re.compile(r"^[ ]{0,3}>\s(?=[^\s=>])", re.MULTILINE)
_MARKUP = str.maketrans({"*": None, "`": None, "\u200b": None, "\ufeff": None} | dict.fromkeys("¹²³⁴⁵⁶⁷⁸⁹⁰"))


def before_next_question(text: str) -> list[str]:
    """The text before the next question that a base model asks itself, in a list; empty if there is none."""
    asked = _NEXT_QUESTION.search(text, 0, 2000)
    return [text[: asked.start()]] if asked and text[: asked.start()].strip() else []


def without_supposed_form(text: str) -> str:
    """The text up to a hypothetical answer: "If there were one, I would reply:"."""
    supposed = _SUPPOSED_FORM.search(text)
    return text[: supposed.start()] if supposed else text


def attributes_as_json(text: str) -> str:
    """The text with XML elements such as `<emotion name="joy" confidence="0.8"/>` converted to JSON objects."""
    return _ELEMENT.sub(_as_json, text) if "=" in text and "<" in text else text


def _as_json(element: re.Match[str]) -> str:
    pairs = {name.lower(): first or second for name, first, second in _ATTRIBUTE.findall(element["attributes"])}
    if element["content"] and element["content"].strip():
        pairs = {element["name"].lower(): element["content"].strip()} | pairs
    elif "value" in pairs:
        pairs = {element["name"].lower(): pairs.pop("value")} | pairs
    return json.dumps(pairs, ensure_ascii=False)


def plain_text(text: str) -> tuple[str, list[str]]:
    """The text without markup, and the contents of LaTeX boxes."""
    text = text if text.isascii() else usual_percents(text)
    numbered = _OF_IMAGE.findall(text)
    text = _OF_IMAGE.sub("", text) if len(numbered) == 1 else text
    text = _SQUARE_HEADING.sub(r"\1:", text)
    if "<" in text:
        text = _NO_TAGS.sub(" ", _TAG_AS_NAME.sub(r"\1:", _BREAK.sub("\n", text)))
    if "\\" in text:
        text = _SYMBOL.sub(lambda symbol: _SYMBOLS[symbol[0]], _LATEX_WORDS.sub(r"\1", text))
    plain = _ASKED.sub("Confidence: ", _QUOTED.sub("", normal_spaces(text)))
    boxed = _BOXED.findall(plain) if "\\" in plain else []
    plain = _BOXED.sub(r"\1", plain) if boxed else plain
    return _EMPHASIS.sub(r"\1", _MATHS.sub("", plain).translate(_MARKUP)), boxed


def complete_part(text: str, cut: bool) -> str:
    """If the text was cut off, the part up to its last complete line or JSON pair; else all of it."""
    if not cut:
        return text
    pair = _PAIR_END.match(text) if "{" in text else None
    return text[: max(text.rfind("\n") + 1, pair.end() if pair else 0)]
