"""Where the other answers leave the one that is written: the tokens that choose a label or a confidence level.

Not a loss (see soft_targets). A tokenizer may give an option one token ("happy") or several (most split "0.85" into
digits, and take ">" and "h" of ">happy" together): the options are compared as whole answers, so no boundary is
guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from transformers import PreTrainedTokenizerBase
from trl.data_utils import apply_chat_template

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import LEVEL_TEXTS, Template, messages

_PROBE = "answer"


@dataclass(frozen=True)
class Paths:
    """The options of one field, each by the choices that lead to it or away from the written answer.

    `steps[k]` are the places (tokens from the answer's first) and tokens at which option k goes along with the written
    answer and at last, unless it is the one written, leaves it. `companions[k]` are the options, k among them, that
    leave by the same token: what the written answer's tokens cannot tell apart.
    """

    steps: tuple[tuple[tuple[int, int], ...], ...]
    companions: tuple[tuple[int, ...], ...]


def paths_of(written: Sequence[int], options: Sequence[Sequence[int]]) -> Paths:
    """Compare the written answer's tokens with those of each option. Raises ValueError where it is none of them."""
    answer, others = tuple(written), [tuple(option) for option in options]
    if answer not in others:
        raise ValueError("the written answer is none of the options")
    branchings = []
    for place in range(len(answer)):
        tokens = {option[place] for option in others if option[:place] == answer[:place] and len(option) > place}
        if len(tokens) > 1:
            branchings.append(place)
    steps = tuple(
        tuple(
            (place, option[place]) for place in branchings if option[:place] == answer[:place] and len(option) > place
        )
        for option in others
    )
    return Paths(steps, tuple(tuple(k for k, other in enumerate(steps) if other == own) for own in steps))


class AnswerPaths:
    """Finds the paths of answers in one template, as one processor's tokenizer and chat template write them."""

    def __init__(self, processor: Any, template: Template) -> None:
        self._tokenizer: PreTrainedTokenizerBase = processor.tokenizer
        self._tags = {name: template.tags(name) for name in template.fields if name != "distribution"}
        question, answer = messages("?", _PROBE)
        row = {"prompt": [question], "completion": [answer]}
        self._before, _, self._after = apply_chat_template(row, processor)["completion"].partition(_PROBE)
        kept = 2048 if template.reasons else 65536  # each reasoning is another, and long
        self.labels = lru_cache(maxsize=kept)(self._labels)
        self.levels = lru_cache(maxsize=kept)(self._levels)

    def tokens(self, answer: str) -> tuple[int, ...]:
        """The answer's tokens with what the chat template puts around it."""
        text = self._before + answer + self._after
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _labels(self, answer: str, candidates: tuple[str, ...]) -> Paths:
        return self._paths(answer, "label", candidates)

    def _levels(self, answer: str) -> Paths:
        return self._paths(answer, "confidence", LEVEL_TEXTS)

    def _paths(self, answer: str, field: str, options: Sequence[str]) -> Paths:
        try:
            return paths_of(self.tokens(answer), [self.tokens(self.say(answer, field, text)) for text in options])
        except ValueError as error:
            raise UserError(f"{answer!r}: its {field} is not one of {', '.join(options)}") from error

    def reasoning(self, answer: str) -> range:
        """The places of the reasoning's tokens, from the answer's first; none where the template does not reason."""
        if "reasoning" not in self._tags:
            return range(0)
        opening, closing = self._tags["reasoning"]
        begun = answer.find(opening) + len(opening)
        ended = answer.rfind(closing)
        if begun < len(opening) or ended < begun:
            raise UserError(f"{answer!r} has no {opening}...{closing}")
        tokens = self.tokens(answer)
        before, until = (self._tokenizer(self._before + answer[:at], add_special_tokens=False) for at in (begun, ended))
        return range(_shared(tokens, before["input_ids"]), _shared(tokens, until["input_ids"]))

    def say(self, answer: str, field: str, text: str) -> str:
        """The answer with another label or confidence; the last such field counts, as it does for the reader."""
        before, _, after = self._around(answer, field)
        return before + text + after

    def said(self, answer: str, field: str) -> str:
        """The label or confidence that the answer states."""
        return self._around(answer, field)[1]

    def _around(self, answer: str, field: str) -> tuple[str, str, str]:
        opening, closing = self._tags[field]
        before, opened, rest = answer.rpartition(opening)
        text, ended, after = rest.partition(closing)
        if not (opened and ended):
            raise UserError(f"{answer!r} has no {opening}...{closing}")
        return before + opening, text, closing + after


def _shared(tokens: Sequence[int], others: Sequence[int]) -> int:
    """With how many tokens both begin."""
    pairs = zip(tokens, others, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(tokens), len(others)))
