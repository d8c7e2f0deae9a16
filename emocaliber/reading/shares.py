"""Lists of shares ("joy 0.6, awe 0.3", or one a line), tables, and answers that are a label and little else."""

from __future__ import annotations

import re

from emocaliber.core.predictions import State
from emocaliber.reading.labels import LabelNames
from emocaliber.reading.numbers import LONGEST, QUANTITY, is_plain, normal_number_text, read_number
from emocaliber.reading.statement import CORRECTION, Statement
from emocaliber.reading.vocabulary import CONFIDENCE

_BULLET = re.compile(r"\s*(?:[-•>#]{1,4}\s|[0-9]{1,2}[.)]\s)?\s*")
_OPTION = re.compile(r"\s{0,4}\(?[A-Za-z][).]\s{1,3}(?=\S)")
_ENTRY_END = re.compile(r",(?![0-9])|[;|]|\s/\s(?![0-9.])|\band\b(?=[^0-9]{2,80}[0-9]|\s[0-9])")
_NUMBER = re.sub(r"\?P<\w+>", "?:", QUANTITY)
_QUANTITY = re.compile(_NUMBER)
_ENTRY = re.compile(
    rf"(?P<label>[^0-9]{{1,80}}?)[\s:=(\[–—~|,@/→-]*(?P<number>{_NUMBER})(?:\s(?:confident|confidence|certain|sure))?[\s)\]]*\.?"
    rf"|(?P<number_first>{_NUMBER})[\s:=–—-]*(?P<label_last>[^0-9]{{1,80}})",
    re.IGNORECASE,
)
_TIGHT = re.compile(r"(?<=[^\W0-9_]),(?=\.?[0-9])")
_LONGEST_ENTRY = 160
_BARE_INTEGER = re.compile(r"[-+]?[0-9]{1,20}\.?")
_ONE_INTEGER = re.compile(r"[^0-9]*(?<!\.)[0-9]{1,20}\.?[^0-9%/‰]*")
_HEADING = re.compile(r"(?:distribution|probabilities|answer|emotions?)\s?:\s?", re.IGNORECASE)
_TABLE_LABEL = re.compile(r"\b(?:emotion|label|answer|feeling|sentiment|prediction)s?\b", re.IGNORECASE)
_TABLE_SHARE = re.compile(r"\b(?:confidence|probability|certainty|likelihood|score|prob|p|share)\b|%", re.IGNORECASE)
_SEGMENT = re.compile(
    r",(?![0-9])|(?<![0-9%])(?<![0-9%] )[(\[]|[;:)\]|]|[.!](?:\s|$)|\s[-–—]\s|\b(?:and|with|at|but)\b"
)
_NO_EXPRESSION = re.compile(
    r"(?<=\S)\s?[-–—,;:(]\s?(?:with |there is |showing )?(?:no|without(?: any| an?)?|little)\s(?:\w{2,20}\s){0,2}"
    r"(?:emotion|expression|feeling|affect)s?\b(?:\s(?:is\s)?(?:visible|shown|present|on (?:the|his|her) face))?\)?",
    re.IGNORECASE,
)
"""What "neutral" means, said beside it."""
_REASON = re.compile(r"\b(?:because|since|due to|based on|given)\b")
_OF_LABEL = re.compile(
    r"\banswer (?:level|score|rating|value|points|stars|intensity|strength)\b|\b(?:level|degree|intensity) of answer\b"
)
_PROBABILITY = re.compile(r"\bpr?\s?[=≈]")
_HAS_NUMBER = re.compile(r"[0-9]|\b(?:percent|out of)\b")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_RULE = re.compile(r"[\s|:+=-]+")
_STATES_CONFIDENCE = re.compile(rf"(?:my |the |overall )?(?:{CONFIDENCE})\b", re.IGNORECASE)
_ENTRY_WORD = re.compile(
    r"\b(?:not|no|never|less|more|than|under|over|below|above|at least|at most|up to|almost|nearly|between)\b|[<>≤≥±]"
)


def read_shares(text: str) -> tuple[tuple[str, str], ...]:
    """The pairs of a list of shares at the text's end; empty where there is none."""
    shares: list[tuple[str, str]] = []
    for line in reversed(text.splitlines()):
        if not line.strip():
            if shares:
                break
            continue
        pairs = entries(line)
        if not pairs:
            break
        shares.extend(reversed(pairs))
    return tuple(reversed(shares))


def read_named_shares(text: str, names: LabelNames) -> Statement | None:
    """A list of shares, at the text's end or its beginning, of which one at least names a candidate."""
    for shares in (read_shares(text), _leading_shares(text)):
        if len(shares) > 1 and any(not isinstance(names.read(label), State) for label, _ in shares):
            return Statement(shares=shares)
    return None


def entries(line: str) -> list[tuple[str, str]]:
    """The (label, share) pairs of which a line consists; empty where anything else is in it."""
    opening = _BULLET.match(line)
    rest = line[opening.end() if opening else 0 :].rstrip().rstrip(",;")
    rest = _HEADING.sub("", _TIGHT.sub(" ", normal_spaces(rest)), count=1)
    pairs = []
    for part in _ENTRY_END.split(rest):
        plain = normal_number_text(part.strip()) if len(part) <= _LONGEST_ENTRY else ""
        entry = _ENTRY.fullmatch(plain)
        if entry is None or _ENTRY_WORD.search(plain) or _STATES_CONFIDENCE.match(plain):
            return []
        label, number = entry["label"] or entry["label_last"], entry["number"] or entry["number_first"]
        pairs.append((label.strip(), number))
    return [] if len(pairs) == 1 and _BARE_INTEGER.fullmatch(pairs[0][1]) else pairs


def read_table(text: str, names: LabelNames) -> Statement | None:
    """A Markdown table with a column of labels and one of confidences; its rows are shares, one row a plain answer."""
    lines = text.splitlines() if "|" in text else []
    for number, line in enumerate(lines):
        cells = _cells(line)
        label = next((n for n, cell in enumerate(cells) if _TABLE_LABEL.search(cell)), None)
        share = next((n for n, cell in enumerate(cells) if _TABLE_SHARE.search(cell)), None)
        if label is not None and share is not None and label != share:
            rows = [row for row in map(_cells, lines[number + 1 : number + 40]) if len(row) == len(cells)]
            pairs = [(row[label], row[share]) for row in rows if not all(map(_RULE.fullmatch, row))]
            if not any(not isinstance(names.read(name), State) for name, _ in pairs):
                return None
            return Statement(shares=tuple(pairs)) if len(pairs) > 1 else Statement(*pairs[0])
    return None


def read_bare(text: str, names: LabelNames) -> Statement | None:
    """A first or last line that is a candidate's name and little else; two that differ are ambiguous."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return None
    if (
        len(lines) == 2
        and names.is_name(lines[0])
        and len(pairs := entries(f"{lines[0].strip(' *.')} {lines[1]}")) == 1
    ):
        return Statement(*pairs[0])
    ends = [lines[0], lines[-1]] if len(lines) > 1 else lines
    if not (matched := [statement for line in ends if (statement := read_line(line, names))]):
        first, last = _SENTENCE.split(lines[0])[0], _SENTENCE.split(lines[-1].rstrip())[-1]
        matched = [statement for line in dict.fromkeys((last, first)) if (statement := read_line(line, names))]
        if len(matched) == 1 and not read_line(last, names) and CORRECTION.search(text, len(first)):
            return None
    if not matched:
        return None
    labels = {names.read(str(statement.label), text) for statement in matched}
    if len(labels) > 1:
        return Statement(" / ".join(str(statement.label) for statement in matched))
    return next((statement for statement in matched if statement.confidence is not None), matched[0])


def read_line(line: str, names: LabelNames) -> Statement | None:
    """A line that is a name, a name with its share, or a sentence of plain words around one name and one number."""
    option = _OPTION.match(line)
    line = line[option.end() :] if option else line
    if names.is_name(line) or names.is_own_letter(line):
        return Statement(line)
    if len(line) > LONGEST or "?" in line:
        return None
    plain = _REASON.split(names.without_denied(normal_spaces(_NO_EXPRESSION.sub(" ", line))), maxsplit=1)[0]
    label = names.read(plain)
    pairs = entries(plain)
    if isinstance(label, State):
        return None
    if len(pairs) == 1 and names.is_name(pairs[0][0]):
        return Statement(label, pairs[0][1])
    return _plain_statement(label, _PROBABILITY.sub(" ", names.without_names(plain)))


def _plain_statement(label: str, rest: str) -> Statement | None:
    """The statement of a line, its label written as "answer", if its clauses are plain and state one number at most."""
    if _ONE_INTEGER.fullmatch(rest):  # a footnote, a rank, a number that was cut off
        return Statement(label)
    if _OF_LABEL.search(rest):  # how strong it is, not how sure
        rest = _QUANTITY.sub(" ", _OF_LABEL.sub("answer", rest))
    segments = _SEGMENT.split(rest)
    numbers = [segment for segment in segments if _HAS_NUMBER.search(segment)]
    values = {read_number(number) for number in numbers}
    if len(values) > 1 or any(isinstance(value, State) for value in values):
        return None
    if not all(segment in numbers or is_plain(segment) for segment in segments):
        return None
    return Statement(label, numbers[0] if numbers else None)


def normal_spaces(text: str) -> str:
    """The text with each full-width colon, comma and bracket as in ASCII, and one spelling of the arrow."""
    return _ARROW.sub("→", text.translate(_FULL_WIDTH))


_ARROW = re.compile(r"[-=]{1,2}>")
_FULL_WIDTH = str.maketrans("：，（）；＝【】、", ":,();=[],") | {ord("。"): ". "}


def _leading_shares(text: str) -> tuple[tuple[str, str], ...]:
    shares: list[tuple[str, str]] = []
    for line in text.strip().splitlines():
        pairs = entries(line)
        if not pairs:
            break
        shares.extend(pairs)
    return tuple(shares)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")] if len(line) < 400 and "|" in line else []
