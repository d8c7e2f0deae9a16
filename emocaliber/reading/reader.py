"""The response parser: one response in, one Reading out. It combines all rules on what counts as an answer.

Reasoning, further turns and special tokens are removed first (`final`). Then these formats are tried in order: answer
tags; JSON and marked prose, whichever comes first; a table or a list of shares; a line that is little more than a
label.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from emocaliber.core.predictions import State
from emocaliber.reading.final import final_answer, outside_blocks
from emocaliber.reading.interpretation import Reading, interpret
from emocaliber.reading.labels import LabelNames, hashable, label_names, more_label_names
from emocaliber.reading.plain import attributes_as_json, before_next_question, complete_part, without_supposed_form
from emocaliber.reading.tagged import Tagged
from emocaliber.reading.untagged import Untagged

_FAILURES = {State.ENGINE_ERROR.value, State.IMAGE_ERROR.value}
_ENTITY = re.compile(r"&(?:#[0-9]{1,5}|amp|lt|gt|quot|nbsp|percnt);")
_ABSENT = {State.EMPTY, State.MISSING_LABEL, State.MISSING_CONFIDENCE}


def read_response(
    text: str,
    candidates: Sequence[str],
    *,
    finish_reason: str | None = None,
    synonyms: Mapping[str, str] | None = None,
    words: Mapping[str, float] | None = None,
) -> Reading:
    """Parse the final answer of a response. Pure, linear in the length of the text; never raises.

    `candidates` are the labels to choose from. `finish_reason` is the engine's: with "length", missing parts have the
    state TRUNCATED and an unfinished last line is ignored; "engine error" and "image error" become that state.
    `synonyms` maps other words to labels; the default is `core.taxonomy.synonyms_of`. `words` is a table such as
    CONFIDENCE_WORDS; without one, a confidence in words is not a number.

    A label without a confidence gives the label and MISSING_CONFIDENCE.
    """
    if finish_reason in _FAILURES:
        return Reading(None, None, None, State(finish_reason))
    cut = finish_reason == "length"
    names = label_names(tuple(candidates), hashable(synonyms))
    text = html.unescape(text) if _ENTITY.search(text) else text
    final = final_answer(text, ended=None if finish_reason is None else not cut)
    if not text.strip():
        reading = Reading(None, None, None, State.EMPTY)
    elif final is None:
        reading = Reading(None, None, None, State.MISSING_LABEL)
    else:
        reading = _read(final, names, text, cut, words or {})
        if reading.label is None and synonyms is None and not names.are_in(final):
            other = _read(final, more_label_names(tuple(candidates)), text, cut, words or {})
            reading = other if other.label is not None else reading
    if cut and reading.state in _ABSENT:
        return replace(reading, state=State.TRUNCATED)
    return reading


def _read(final: str, names: LabelNames, response: str, cut: bool, words: Mapping[str, float]) -> Reading:
    """The reading of the final answer, from the text outside blocks in unknown tags, or else from all of it."""
    final = attributes_as_json(without_supposed_form(final))
    outside = outside_blocks(final)
    reading = Reading(None, None, None, State.MISSING_LABEL)
    if outside is None:
        return reading
    untagged = Untagged(names, response)
    tagged = Tagged(untagged, cut)
    for text in dict.fromkeys([*before_next_question(outside), outside, final]):
        statement = tagged.read(text) or untagged.read(complete_part(text, cut))
        reading = interpret(statement, names, response, words, text)
        if reading.label is not None:
            break
    return reading
