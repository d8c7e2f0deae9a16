"""Parsing lists of shares ("joy 0.6, awe 0.3", or one per line), tables, and lines that are little more than a"
" label."""

from __future__ import annotations

import re

from emocaliber.core.predictions import State
from emocaliber.reading.labels import LabelNames, Mention
from emocaliber.reading.numbers import LONGEST, QUANTITY, is_plain, normal_number_text, read_number
from emocaliber.reading.statement import AMBIGUOUS, CORRECTION, Statement
from emocaliber.reading.vocabulary import CONFIDENCE

_BULLET = re.compile(r"\s*(?:[-•>#\u2600-\u27bf\U0001F300-\U0001FAFF]{1,4}\s|[0-9]{1,2}[.)]\s)?\s*")
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
_NUMBER_BEFORE = re.compile(
    rf"(?P<number>{_NUMBER})\s(?:(?:chance|probability|likelihood|weight|sure|confident|certain)\s)?"
    r"(?:(?:on|of|for|to|in|(?:that )?(?:it is|it's|this is)|is)\s)?(?:just\s)?(?:the\s|an?\s)?$"
)
_NUMBER_AFTER = re.compile(rf"\s?[:=]?\s?(?:(?:with|at|by|about|makes up|accounts for)\s)?\(?(?P<number>{_NUMBER})")
_TOP_FEW = re.compile(r"\btop[- ]?(?:[2-5]|two|three|few)\b")
_ROUNDING = 0.011
_LONGEST_ENTRY, _MOST_LINES, _MOST_WORDS = 160, 40, 6
_LETTER_ALONE = re.compile(r"(?i:(?:the |my )?(?:option|choice|answer|letter)\s)?(?:[A-Z]|\(?[A-Za-z]\))\.?")
_TICKED = re.compile(r"\s{0,4}(?:[-*•]\s)?(?:\[[xX✓✔]\]|☑|✅|✔)\s{0,3}(\S.{0,100})")
_UNTICKED = re.compile(r"\s{0,4}(?:[-*•]\s)?(?:\[\s?\]|☐|⬜|❌|✗)")
_ITEM = re.compile(r"\s{0,4}(?:[0-9]{1,2}[.)]|[-•])\s{1,3}(\S.{0,80})")
_RANKING = re.compile(r"\b(?:rank\w*|most (?:to least )?likely|likelihood|order(?:ed)?|probab\w*|top)\b", re.IGNORECASE)
_ONLY_NAMES = re.compile(r"(?:answer\W{0,5}){2,8}")
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
"""A paraphrase of "neutral" next to it."""
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
    """The pairs of a list of shares at the end of the text; empty if there is none."""
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
    """A list of shares that includes a candidate: at the end or the beginning of the text, or the only one within."""
    blocks = _blocks(text)
    for shares in (read_shares(text), _leading_shares(text), *(blocks if len(blocks) == 1 else ())):
        short = all(len(label.split()) <= _MOST_WORDS for label, _ in shares)
        if len(shares) > 1 and short and any(not isinstance(names.read(label), State) for label, _ in shares):
            return Statement(shares=shares)
    return None


def read_spoken_shares(text: str, names: LabelNames) -> Statement | None:
    """A sentence that gives each candidate it names a number, with sum 1: "60% on fear and 40% on surprise"."""
    for sentence in _SENTENCE.split(text)[:_MOST_LINES]:
        if len(sentence) > LONGEST or _ENTRY_WORD.search(sentence.lower()):
            continue
        folded, mentions = names.mentions(sentence)
        numbers = sum(any(map(str.isdigit, number[0])) for number in _QUANTITY.finditer(_TOP_FEW.sub("", folded)))
        pairs = _numbers_of(folded, mentions)
        if 1 < len(pairs) == len(mentions) == numbers and not any(mention.denied for mention in mentions):
            values = [value for _, text in pairs if isinstance(value := read_number(text), float)]
            complete = abs(sum(values) - 1) <= _ROUNDING or (sum(values) < 1 and _TOP_FEW.search(folded))
            if len(values) == len(pairs) and complete:
                return Statement(shares=tuple(pairs))
    return None


def _numbers_of(folded: str, mentions: list[Mention]) -> list[tuple[str, str]]:
    """The names of a sentence with the number right beside each, before it if the sentence begins with a number; no
    number stands for two names ("joy 0.3 anger 0.4 fear 0.3")."""
    first = _QUANTITY.search(folded)
    number_first = first is not None and bool(mentions) and first.start() < mentions[0].start
    pairs: dict[int, tuple[str, str]] = {}
    for mention in mentions:
        before = _NUMBER_BEFORE.search(folded[: mention.start])
        after = _NUMBER_AFTER.match(folded, mention.end)
        sides = (before, after) if number_first else (after, before)
        free = [side for side in sides if side is not None and side.start("number") not in pairs]
        if free:
            pairs[free[0].start("number")] = (mention.labels[0], free[0]["number"])
    return list(pairs.values())


def _blocks(text: str) -> list[tuple[tuple[str, str], ...]]:
    """The lists of at least two shares, one per line, within a text."""
    blocks: list[list[tuple[str, str]]] = [[]]
    for line in text.splitlines():
        pairs = entries(line) if any(map(str.isdigit, line)) else []
        if len(pairs) == 1:
            blocks[-1] += pairs
        elif blocks[-1]:
            blocks.append([])
    return [tuple(block) for block in blocks if len(block) > 1]


def entries(line: str) -> list[tuple[str, str]]:
    """The (label, share) pairs of a line; empty if it contains anything else."""
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
    """A Markdown table with a label and a confidence column: several rows are a distribution, one row is an answer."""
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
    """A letter, a ticked or ranked list, or a first or last line that is little more than a candidate's name.

    Lines that name different candidates are ambiguous.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return None
    if len(lines) == 1 and _LETTER_ALONE.fullmatch(lines[0].strip()):
        return Statement(lines[0])
    if listed := _ticked(lines) or _ranked(lines, names) or _name_and_number(lines, names):
        return listed
    matched = _at_the_ends(lines, text, names)
    if not matched:
        return None
    matched += [statement for line in lines[1:-1][:_MOST_LINES] if (statement := read_line(line, names))]
    labels = {names.read(str(statement.label), text) for statement in matched}
    if len(labels) > 1:
        return Statement(AMBIGUOUS.join(str(statement.label) for statement in matched[:10]))
    return next((statement for statement in matched if statement.confidence is not None), matched[0])


def _name_and_number(lines: list[str], names: LabelNames) -> Statement | None:
    """A name on the first of two lines, its number on the second."""
    if len(lines) != 2 or not names.is_name(lines[0]):
        return None
    pairs = entries(f"{lines[0].strip(' *.')} {lines[1]}")
    return Statement(*pairs[0]) if len(pairs) == 1 else None


def _at_the_ends(lines: list[str], text: str, names: LabelNames) -> list[Statement]:
    """The statements of the first and last lines, or else of the first and last sentences."""
    ends = [lines[0], lines[-1]] if len(lines) > 1 else lines
    if matched := [statement for line in ends if (statement := read_line(line, names))]:
        return matched
    first, last = _SENTENCE.split(lines[0])[0], _SENTENCE.split(lines[-1].rstrip())[-1]
    matched = [statement for line in dict.fromkeys((last, first)) if (statement := read_line(line, names))]
    taken_back = len(matched) == 1 and not read_line(last, names) and CORRECTION.search(text, len(first))
    return [] if taken_back else matched


def _ticked(lines: list[str]) -> Statement | None:
    """The only ticked option of a list."""
    ticked = [matched[1] for line in lines if (matched := _TICKED.fullmatch(line))]
    return Statement(ticked[0]) if len(ticked) == 1 and any(map(_UNTICKED.match, lines)) else None


def _ranked(lines: list[str], names: LabelNames) -> Statement | None:
    """For a list consisting of candidates: the first if the list is ranked, otherwise all of them (ambiguous)."""
    order = [part.strip(" .") for part in lines[-1].split(">")]
    if len(order) > 2 and all(map(names.is_name, order)):
        return Statement(order[0])
    items = [matched[1] for line in lines if (matched := _ITEM.fullmatch(line)) and names.is_name(matched[1])]
    if len(items) < 2 or len({names.read(item) for item in items}) < 2:
        return None
    first = next(line for line in lines if _ITEM.fullmatch(line))
    before = " ".join(lines[: lines.index(first)][-2:])
    return Statement(items[0]) if _RANKING.search(before) else Statement(AMBIGUOUS.join(items[:10]))


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
    if _ONLY_NAMES.fullmatch(names.without_names(line)) and not isinstance(label, State):
        return Statement(label)
    pairs = entries(plain)
    if isinstance(label, State):
        return None
    if len(pairs) == 1 and names.is_name(pairs[0][0]):
        return Statement(label, pairs[0][1])
    return _plain_statement(label, _PROBABILITY.sub(" ", names.without_names(plain)))


def _plain_statement(label: str, rest: str) -> Statement | None:
    """The statement of a line, with its label replaced by "answer", if its clauses are plain with at most one"
    " number."""
    if _ONE_INTEGER.fullmatch(rest):  # a footnote, a rank, or a truncated number
        return Statement(label)
    if _OF_LABEL.search(rest):  # the intensity of the emotion, not the confidence
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
