"""The reader: one response in, one Reading out. Every policy on what counts as an answer meets here.

Order: EmoCaliber's and our own tags; where there are none JSON, marked prose, a list of shares, a bare label as the
last line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emocaliber.core.predictions import State
from emocaliber.reading.final import after_reasoning, last_elements
from emocaliber.reading.forms import Statement, read_confidence, read_json, read_shares, untagged
from emocaliber.reading.labels import LabelNames, hashable, label_names
from emocaliber.reading.numbers import read_number, read_words

_ROUNDING = 0.005
_FAILURES = {State.ENGINE_ERROR.value, State.IMAGE_ERROR.value}
_ABSENT = {State.EMPTY, State.MISSING_LABEL, State.MISSING_CONFIDENCE}


@dataclass(frozen=True, slots=True)
class Reading:
    """What a response says.

    `label` is one of the candidates, `confidence` lies in [0, 1], `distribution` maps candidates to shares as they
    were stated (not rescaled; shares left unstated are left out): each is None where it could not be read, and
    `state` names the first thing that went wrong: label before distribution before confidence. `worded` marks a
    confidence that came from a table of words.
    """

    label: str | None
    confidence: float | None
    distribution: dict[str, float] | None
    state: State
    worded: bool = False


def read_response(
    text: str,
    candidates: Sequence[str],
    *,
    finish_reason: str | None = None,
    synonyms: Mapping[str, str] | None = None,
    words: Mapping[str, float] | None = None,
) -> Reading:
    """Read the final answer of a response. Pure, total, linear in the text; never raises.

    `candidates` are the labels to choose from. `finish_reason` is the engine's: "length" makes what is missing
    TRUNCATED, and takes an unfinished last line for no answer; "engine error" and "image error" become that state.
    `synonyms` maps a taxonomy's declared inflections to their labels. `words` is a table such as CONFIDENCE_WORDS;
    without one, a confidence in words is not a number.

    A label without a confidence gives the label with MISSING_CONFIDENCE.

    """
    if finish_reason in _FAILURES:
        return Reading(None, None, None, State(finish_reason))
    cut = finish_reason == "length"
    names = label_names(tuple(candidates), hashable(synonyms))
    final = after_reasoning(text)
    if not text.strip():
        reading = Reading(None, None, None, State.EMPTY)
    elif final is None:
        reading = Reading(None, None, None, State.MISSING_LABEL)
    else:
        reading = _interpret(_tagged(final, names) or untagged(_whole_lines(final, cut), names), names, words or {})
    if cut and reading.state in _ABSENT:
        return Reading(reading.label, reading.confidence, reading.distribution, State.TRUNCATED, reading.worded)
    return reading


def _whole_lines(text: str, cut: bool) -> str:
    return text[: text.rfind("\n") + 1] if cut else text


def _tagged(final: str, names: LabelNames) -> Statement | None:
    found = last_elements(final)
    answer, spread, stated = found.get("answer"), found.get("distribution"), found.get("confidence")
    if not found:
        return None
    confidence = stated.content if stated else None
    shares = read_shares(spread.content) if spread else ()
    if spread and not shares:
        shares = ((spread.content, ""),)
    if answer is None:
        before = untagged(final[: stated.start], names) if stated and not spread else None
        return Statement(before.label if before else None, confidence, shares)
    inner = None if stated or spread else read_json(answer.content) or _shares_in(answer.content)
    if inner:
        return inner
    return Statement(answer.content, confidence if stated or spread else read_confidence(final[answer.end :]), shares)


def _shares_in(content: str) -> Statement | None:
    shares = read_shares(content)
    return Statement(shares=shares) if shares else None


def _interpret(statement: Statement | None, names: LabelNames, words: Mapping[str, float]) -> Reading:
    if statement is None:
        return Reading(None, None, None, State.MISSING_LABEL)
    if len(statement.shares) == 1 and statement.label is None:
        name, share = statement.shares[0]
        statement = Statement(name, statement.confidence or share)
    distribution = _distribution(statement.shares, names) if statement.shares else None
    shares = distribution if isinstance(distribution, dict) else None
    label = names.read(statement.label) if statement.label is not None else _top(distribution)
    confidence, worded = _confidence(statement.confidence, words)
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


def _confidence(text: str | None, words: Mapping[str, float]) -> tuple[float | State, bool]:
    if text is None:
        return State.MISSING_CONFIDENCE, False
    worded = read_words(text, words)
    return (read_number(text), False) if worded is None else (worded, True)


def _distribution(shares: tuple[tuple[str, str], ...], names: LabelNames) -> dict[str, float] | State:
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


def _top(distribution: dict[str, float] | State | None) -> str | State:
    if distribution is None:
        return State.MISSING_LABEL
    if isinstance(distribution, State):
        return distribution
    highest = max(distribution.values())
    top = [label for label, share in distribution.items() if share == highest]
    return top[0] if len(top) == 1 else State.AMBIGUOUS_LABEL
