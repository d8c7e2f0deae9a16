"""Which tokens of an answer choose between the options of a field: between labels, or between confidence levels.

Not a loss (see soft_targets). A tokenizer may give an option one token ("happy") or several: most split "0.85" into
digits, and some merge characters across a field's boundary, such as the ">h" of ">happy". So whole answers are
compared, and no boundary is assumed.
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

_PLACEHOLDER = "answer"


@dataclass(frozen=True)
class Paths:
    """For each option of one field, the branching tokens that lead to it along the written answer.

    `steps[k]` are (position from the answer's first token, token) pairs: option k's tokens where options branch, up to
    the one by which it leaves the written answer (the written option never does). `siblings[k]` are the options, k
    included, that leave it by the same token, which the written answer's tokens cannot tell apart.
    """

    steps: tuple[tuple[tuple[int, int], ...], ...]
    siblings: tuple[tuple[int, ...], ...]


def paths_of(written: Sequence[int], options: Sequence[Sequence[int]]) -> Paths:
    """Compare the written answer's tokens with those of each option. Raises ValueError where it is none of them."""
    answer, others = tuple(written), [tuple(option) for option in options]
    if answer not in others:
        raise ValueError("the written answer is none of the options")
    branches = []
    for position in range(len(answer)):
        prefix = answer[:position]
        tokens = {option[position] for option in others if option[:position] == prefix and len(option) > position}
        if len(tokens) > 1:
            branches.append(position)
    steps = tuple(
        tuple(
            (position, option[position])
            for position in branches
            if option[:position] == answer[:position] and len(option) > position
        )
        for option in others
    )
    return Paths(steps, tuple(tuple(k for k, other in enumerate(steps) if other == mine) for mine in steps))


class AnswerPaths:
    """The paths of answers in one template, as a processor's tokenizer and chat template write them."""

    def __init__(self, processor: Any, template: Template) -> None:
        self._tokenizer: PreTrainedTokenizerBase = processor.tokenizer
        self._tags = {name: template.tags(name) for name in template.fields if name != "distribution"}
        question, answer = messages("?", _PLACEHOLDER)
        row = {"prompt": [question], "completion": [answer]}
        self._before, _, self._after = apply_chat_template(row, processor)["completion"].partition(_PLACEHOLDER)
        cached = 2048 if template.reasons else 65536  # answers with reasoning are long and never repeat
        self.labels = lru_cache(maxsize=cached)(self._labels)
        self.levels = lru_cache(maxsize=cached)(self._levels)

    def tokens(self, answer: str) -> tuple[int, ...]:
        """The answer's tokens, including what the chat template writes around it."""
        text = self._before + answer + self._after
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _labels(self, answer: str, candidates: tuple[str, ...]) -> Paths:
        return self._paths(answer, "label", candidates)

    def _levels(self, answer: str) -> Paths:
        return self._paths(answer, "confidence", LEVEL_TEXTS)

    def _paths(self, answer: str, field: str, options: Sequence[str]) -> Paths:
        variants = [self.tokens(self.with_field(answer, field, text)) for text in options]
        try:
            return paths_of(self.tokens(answer), variants)
        except ValueError as error:
            raise UserError(f"{answer!r}: its {field} is not one of {', '.join(options)}") from error

    def reasoning(self, answer: str) -> range:
        """The positions of the reasoning, counted from the answer's first token; empty for a template without it."""
        if "reasoning" not in self._tags:
            return range(0)
        opening, closing = self._tags["reasoning"]
        start = answer.find(opening) + len(opening)
        end = answer.rfind(closing)
        if start < len(opening) or end < start:
            raise UserError(f"{answer!r} has no {opening}...{closing}")
        tokens = self.tokens(answer)
        prefixes = (self._tokenizer(self._before + answer[:at], add_special_tokens=False) for at in (start, end))
        return range(*(_common_prefix(tokens, prefix["input_ids"]) for prefix in prefixes))

    def with_field(self, answer: str, field: str, text: str) -> str:
        """The answer with its label or confidence replaced; as for the parser, the last such field counts."""
        before, _, after = self._around(answer, field)
        return before + text + after

    def field_text(self, answer: str, field: str) -> str:
        """The label or confidence that the answer states."""
        return self._around(answer, field)[1]

    def _around(self, answer: str, field: str) -> tuple[str, str, str]:
        opening, closing = self._tags[field]
        before, opened, rest = answer.rpartition(opening)
        text, closed, after = rest.partition(closing)
        if not (opened and closed):
            raise UserError(f"{answer!r} has no {opening}...{closing}")
        return before + opening, text, closing + after


def _common_prefix(tokens: Sequence[int], others: Sequence[int]) -> int:
    """The length of the longest common prefix."""
    pairs = zip(tokens, others, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(tokens), len(others)))
