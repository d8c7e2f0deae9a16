"""Interpreting a statement: its raw texts become label, confidence and distribution, with a state for what is"
" missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emocaliber.core.predictions import State
from emocaliber.reading.labels import LabelNames
from emocaliber.reading.numbers import read_number, read_words
from emocaliber.reading.statement import Statement

_ROUNDING = 0.005


@dataclass(frozen=True, slots=True)
class Reading:
    """The parsed content of a response.

    `label` is one of the candidates, `confidence` lies in [0, 1], and `distribution` maps candidates to the stated
    shares (not rescaled; candidates without a share are absent). Each is None if it could not be read, and `state`
    names the first failure, in the order label, distribution, confidence. `worded` marks a confidence given in words
    and converted by a table.
    """

    label: str | None
    confidence: float | None
    distribution: dict[str, float] | None
    state: State
    worded: bool = False


def interpret(
    statement: Statement | None, names: LabelNames, response: str, words: Mapping[str, float], final: str
) -> Reading:
    """The reading of a statement from a response whose final answer is `final`.

    `response` is the full text, which may show the letters of options; `words` is a table such as CONFIDENCE_WORDS.
    """
    if statement is None:
        return Reading(None, None, None, State.MISSING_LABEL)
    if len(statement.shares) == 1 and statement.label is None:
        name, share = statement.shares[0]
        statement = Statement(name, statement.confidence or share, scale=statement.scale)
    distribution = distribution_of(statement.shares, names) if statement.shares else None
    shares = distribution if isinstance(distribution, dict) else None
    label = names.read(statement.label, response) if statement.label is not None else _top(distribution)
    confidence, worded = _confidence(statement, words, final)
    if statement.confidence is None and shares is not None and label in shares:
        confidence = shares[label]
    states = (part for part in (label, distribution, confidence) if isinstance(part, State))
    return Reading(
        None if isinstance(label, State) else label,
        None if isinstance(confidence, State) else confidence,
        shares,
        next(states, State.OK),
        worded,
    )


def distribution_of(shares: tuple[tuple[str, str], ...], names: LabelNames) -> dict[str, float] | State:
    """The shares by label; a state if one cannot be read, a label repeats, or they sum to more than 1."""
    distribution: dict[str, float] = {}
    for name, text in shares:
        label, share = names.read(name), read_number(text)
        if isinstance(label, State):
            return label
        if isinstance(share, State):
            return share
        if label in distribution:
            return State.AMBIGUOUS_LABEL
        distribution[label] = share
    allowed = 1 + _ROUNDING * len(distribution) + 1e-9
    return distribution if sum(distribution.values()) <= allowed else State.OUT_OF_RANGE


def _confidence(statement: Statement, words: Mapping[str, float], final: str) -> tuple[float | State, bool]:
    if statement.confidence is None:
        return State.MISSING_CONFIDENCE, False
    worded = read_words(statement.confidence, words)
    if worded is not None:
        return worded, True
    return read_number(statement.confidence, statement.scale, final), False


def _top(distribution: dict[str, float] | State | None) -> str | State:
    if distribution is None:
        return State.MISSING_LABEL
    if isinstance(distribution, State):
        return distribution
    highest = max(distribution.values())
    top = [label for label, share in distribution.items() if share == highest]
    return top[0] if len(top) == 1 else State.AMBIGUOUS_LABEL
