"""Parsing answers in JSON: which keys hold the label, the confidence and the shares, and which object is the answer."""

from __future__ import annotations

import re
from dataclasses import replace

from emocaliber.core.predictions import State
from emocaliber.reading.labels import LabelNames
from emocaliber.reading.lenient_json import Object, Value, objects
from emocaliber.reading.numbers import normal_number_text, read_number
from emocaliber.reading.scales import Scale, find_scale, scale_of_heading
from emocaliber.reading.statement import AMBIGUOUS, CORRECTION, SECONDARY, SUPPOSED, Statement
from emocaliber.reading.vocabulary import CONFIDENCE, CONFIDENCE_CJK, LABEL, LABEL_CJK, word_set

_LABEL_WORD = re.compile(rf"{LABEL}|{LABEL_CJK}|name", re.IGNORECASE)
_FIRST_LABELS = word_set("primary dominant main")
_LAST_LABELS = word_set("output ans response result verdict expression conclusion")
_CONFIDENCE_WORD = re.compile(
    rf"{CONFIDENCE}|{CONFIDENCE_CJK}|prob|conf|scores?|share|weight|percentage|certain", re.IGNORECASE
)
_SPREADS = word_set("distribution probabilities scores emotions predictions confidences probs shares")
_SCALE_KEYS = word_set("scale range unit units max maximum")
_ENDS = re.compile(r"[0-9]\s?(?:-|–|to)\s?[0-9]|%|percent")
_SCALES = word_set("scale range unit units max maximum outof of")
_QUALIFIED = word_set(
    "secondary second third runner up alternative alternatives alternate other others next possible candidates"
    " options intensity valence arousal reason reasoning explanation justification rationale interval comment note"
    " notes error uncertainty wrong doubt not description opposite true ground truth least unlikely excluded rejected"
    " example lower upper bound draft initial previous analysis context evidence incorrect raters human threshold"
)
_OF_ANSWER = word_set(
    "my the your our final overall predicted primary main dominant detected model self reported stated estimated"
    " level value rating percent pct in of out to from scale is correct correctness that this how top first best"
    " facial verbal verbalized numeric number decimal estimate expressed it am i after review revised updated adjusted"
    " calibrated corrected"
)
"""Words in a key that are compatible with its being the answer's confidence."""
_WORD = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![a-z])|%|[0-9]+")
_EXAMPLE = re.compile(r"\b(?:format|example|template|schema|e\.g\.|such as|for instance)\b[^.\n]{0,40}$", re.IGNORECASE)
_MOST_LISTED = 64
_TRUTHS = ("true", "false", "yes", "no")


def read_json(text: str, names: LabelNames) -> tuple[int, Statement] | None:
    """The offset of the answer's JSON and its statement; None if no JSON states a label or shares of candidates.

    The first object that states a candidate is the answer. A later one with another label replaces it if words in
    between correct the first, is skipped if they introduce an alternative ("Second choice"), and otherwise makes the
    answer ambiguous.
    """
    read: list[tuple[int, int, Statement]] = []
    for start, end, value in objects(text):
        statement = _statement(value, names)
        if statement is not None:
            read.append((start, end, statement))
    named = [entry for entry in read if not isinstance(_label_of(entry[2], names), State)] or read
    named = [entry for entry in named if not _EXAMPLE.search(text[max(0, entry[0] - 80) : entry[0]])] or named
    if not named:
        return None
    start, end, chosen = named[0]
    for later_start, later_end, later in named[1:]:
        between = text[end:later_start][-200:]
        if SECONDARY.search(between) or SUPPOSED.search(between) or _label_of(later, names) == _label_of(chosen, names):
            continue
        if CORRECTION.search(between):
            start, end, chosen = later_start, later_end, later
        elif len(named) == 2 and (pair := _as_shares([chosen, later])):
            return start, pair
        else:
            return start, Statement(AMBIGUOUS.join(str(entry[2].label) for entry in named[:4]))
    return start, chosen


def _label_of(statement: Statement, names: LabelNames) -> object:
    if statement.label is not None:
        return names.read(statement.label)
    return (
        frozenset(statement.shares)
        if any(not isinstance(names.read(n), State) for n, _ in statement.shares)
        else State.UNKNOWN_LABEL
    )


def _statement(value: Value, names: LabelNames) -> Statement | None:
    if isinstance(value, Object):
        return _of_object(value, names)
    return _of_list(value, names) if isinstance(value, list) else None


def _of_object(parsed: Object, names: LabelNames) -> Statement | None:
    pairs = [(_words(key), _alone(value), key) for key, value in parsed.pairs]
    shares = _named_shares(parsed, names)
    labels = [value for words, value, _ in pairs if _is_label(words)]
    texts = [value for value in labels if isinstance(value, str)]
    texts = texts or [value for words, value, _ in pairs if words & _LAST_LABELS and isinstance(value, str)]
    stated = [
        (value, key)
        for words, value, key in pairs
        if _is_confidence(words, names) and not (words & _SCALE_KEYS and isinstance(value, str) and _ENDS.search(value))
    ]
    lists = _parallel(
        labels,
        [
            value
            for words, value, _ in pairs
            if _is_confidence(words, names) or (words & _SPREADS and not _is_label(words))
        ],
    )
    if lists:
        return Statement(shares=lists)
    stated += [
        pair
        for words, value, _ in pairs
        if isinstance(value, Object) and not words & _QUALIFIED
        for pair in _inner_confidences(value, names)
    ]
    confidences = [(value, _scale_of_key(key)) for value, key in stated if isinstance(value, str)]
    scale = _scale(pairs)
    inner = [
        matched for words, value, _ in pairs if not words & _QUALIFIED and (matched := _nested(words, value, names))
    ]
    if texts and (
        not inner or not isinstance(names.read(texts[0]), State) or isinstance(_label_of(inner[0], names), State)
    ):
        spread = next((matched.shares for matched in inner if matched.shares), ())
        return _with_confidence(
            Statement(AMBIGUOUS.join(texts) if len(set(texts)) > 1 else texts[0], shares=spread), confidences, scale
        )
    if len({_label_of(matched, names) for matched in inner if matched.label}) > 1:
        return Statement(AMBIGUOUS.join(str(matched.label) for matched in inner[:4]))
    for matched in inner:
        return matched if matched.confidence or matched.shares else _with_confidence(matched, confidences, scale)
    if shares:
        return Statement(shares=shares)
    ticked = _ticked(parsed, names)
    return _with_confidence(Statement(ticked), confidences, scale) if ticked else None


def _inner_confidences(inner: Object, names: LabelNames) -> list[tuple[Value, str]]:
    """The confidences in a nested object that has no label of its own."""
    words = [(_words(key), value, key) for key, value in inner.pairs]
    return (
        []
        if any(_is_label(each) for each, _, _ in words)
        else [(v, key) for each, v, key in words if _is_confidence(each, names)]
    )


def _with_confidence(statement: Statement, stated: list[tuple[str, Scale | None]], scale: Scale | None) -> Statement:
    """The statement with its confidence; several different ones are joined by AMBIGUOUS, which is not a number."""
    if not stated:
        return statement
    texts = dict(stated)
    text, own = stated[-1]
    same = len({read_number(other) for other in texts}) == 1
    return replace(statement, confidence=text if same else AMBIGUOUS.join(texts), scale=own or scale)


def _of_list(values: list[Value], names: LabelNames) -> Statement | None:
    """A list of objects or pairs with a label and a share each."""
    if len(values) == 1:
        return _statement(values[0], names)
    if len(values) == 2 and isinstance(values[0], str) and isinstance(values[1], str) and names.is_name(values[0]):
        return Statement(values[0], values[1]) if isinstance(read_number(values[1]), float) else None
    pairs = []
    for value in values[:_MOST_LISTED]:
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], str):
            pairs.append((value[0], value[1]))
        elif isinstance(value, Object) and (matched := _of_object(value, names)):
            if matched.label is None:
                pairs.extend(matched.shares)
            elif matched.scale is None:
                pairs.append((matched.label, matched.confidence or ""))
    named = [(label, share) for label, share in pairs if not isinstance(names.read(label), State)]
    if not named:
        return None
    return Statement(shares=tuple(pairs)) if len(pairs) > 1 else Statement(*pairs[0])


def _nested(words: frozenset[str], value: Value, names: LabelNames) -> Statement | None:
    if isinstance(value, Object) or (
        isinstance(value, list) and ((words & _SPREADS or any(map(_LABEL_WORD.fullmatch, words))) or len(value) == 1)
    ):
        return _statement(value, names)
    return None


def _named_shares(parsed: Object, names: LabelNames) -> tuple[tuple[str, str], ...]:
    """The numeric pairs of an object, if any of their keys is a label; else empty."""
    numbers = [
        (key, value) for key, value in parsed.pairs if isinstance(value, str) and any(map(str.isdigit, value[:40]))
    ]
    named = [pair for pair in numbers if not isinstance(names.read(pair[0]), State)]
    return tuple(numbers) if named else ()


def _ticked(parsed: Object, names: LabelNames) -> str | None:
    """The only candidate that an object marks true, if it marks at least one other false."""
    said = [(key, value.lower()) for key, value in parsed.pairs if isinstance(value, str) and names.is_name(key)]
    true = [key for key, value in said if value in ("true", "yes")]
    return true[0] if len(true) == 1 and len(said) > 1 and all(value in _TRUTHS for _, value in said) else None


def _parallel(labels: list[Value], stated: list[Value]) -> tuple[tuple[str, str], ...]:
    """The pairs of a list of labels and a list of confidences of the same length."""
    if len(labels) != 1 or len(stated) != 1 or not isinstance(labels[0], list) or not isinstance(stated[0], list):
        return ()
    names, shares = ([value for value in values if isinstance(value, str)] for values in (labels[0], stated[0]))
    return tuple(zip(names, shares, strict=True)) if len(names) == len(shares) > 1 else ()


def _as_shares(statements: list[Statement]) -> Statement | None:
    """Two answers as a distribution, if their confidences sum to at most 1."""
    pairs = [(str(statement.label), statement.confidence or "") for statement in statements if statement.label]
    values = [value for _, text in pairs if isinstance(value := read_number(text), float)]
    return Statement(shares=tuple(pairs)) if len(values) == len(statements) and sum(values) <= 1.005 else None


def _alone(value: Value) -> Value:
    """The element of a one-element list, or the JSON in a text; any other value unchanged."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        return next((inner for _, _, inner in objects(value)), value)
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _words(key: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(key[:80]))


def _is_label(words: frozenset[str]) -> bool:
    return (len(words) == 1 and words <= _FIRST_LABELS) or (
        any(map(_LABEL_WORD.fullmatch, words - _LAST_LABELS))
        and not any(map(_CONFIDENCE_WORD.fullmatch, words))
        and not words & (_QUALIFIED | _SCALES)
    )


def _is_confidence(words: frozenset[str], names: LabelNames) -> bool:
    """Whether a key is the answer's confidence, that is, none of its words refers to anything else."""
    if not any(map(_CONFIDENCE_WORD.fullmatch, words)) or ("score" in words and words & {"sentiment", "polarity"}):
        return False
    return all(
        word in _OF_ANSWER
        or word in _SPREADS
        or not word.isalpha()
        or names.is_name(word)
        or _CONFIDENCE_WORD.fullmatch(word)
        or _LABEL_WORD.fullmatch(word)
        for word in words
    )


def _scale_of_key(key: str) -> Scale | None:
    """The scale in a key's name: confidence_percent, "confidence (0-10)", confidence_out_of_10."""
    plain = normal_number_text(key[:80]).replace("_", " ")
    matched = re.search(r"percent(?:age)?|pct|%|out of [0-9]+|\(.*|[0-9]+ (?:to )?[0-9]+$", plain)
    return scale_of_heading(matched[0].replace("percentage", "%")) if matched else None


def _scale(pairs: list[tuple[frozenset[str], Value, str]]) -> Scale | None:
    """The scale stated under a separate key."""
    for words, value, _ in pairs:
        if words & _SCALES and not words & _QUALIFIED and isinstance(value, str):
            plain = normal_number_text(value[:80])
            number = re.fullmatch(r"\s*[0-9]+(?:\.0+)?\s*", plain)
            return (
                scale_of_heading(f"out of {plain.strip()}" if number else plain)
                or find_scale(f"scale {plain}")[0]
                or Scale(None)
            )
    return None
