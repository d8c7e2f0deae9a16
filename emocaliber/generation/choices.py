"""Choices read from a generated answer: which tokens chose, and how probable the other options were.

Not a model: an engine brings the recorded log-probabilities, and a way to score what the record does not hold. By any
tokenizer: "<answer>happy" may tokenise as ">h" + "appy", and then no token of the answer stands for the label alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from transformers import PreTrainedTokenizerBase

from emocaliber.generation.engine import Choice, Request

Recorded = Callable[[int, Sequence[int]], Sequence[float] | None]
"""The log-probabilities of these tokens at this step of the answer; None where they were not recorded."""
Scored = Callable[[str, Sequence[str]], Sequence[float]]
"""The log-probabilities of these continuations after this beginning of the answer."""


class ChoiceReader:
    """Reads the choices of answers that were generated with one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._tokens: dict[tuple[str, tuple[str, ...]], list[int] | None] = {}

    def tokens_to_record(self, requests: Iterable[Request]) -> list[int]:
        """The tokens whose log-probabilities at each step suffice for every choice among single tokens; sorted."""
        choices = {choice for request in requests for choice in request.choices}
        return sorted({token for choice in choices for token in self._tokens_of(choice) or ()})

    def read(
        self, choices: Sequence[Choice], text: str, row: Sequence[int], recorded: Recorded, scored: Scored | None
    ) -> tuple[tuple[float, ...] | None, ...]:
        """For each choice its options' log-probabilities; None where the text lacks the place.

        None, too, where the record does not hold them and there is no `scored` to find them by.
        """
        if not choices:
            return ()
        decode = self._tokenizer.decode
        pieces = [str(decode([token], clean_up_tokenization_spaces=False)) for token in row]
        return tuple(self._read(choice, text, pieces, recorded, scored) for choice in choices)

    def _read(
        self, choice: Choice, text: str, pieces: Sequence[str], recorded: Recorded, scored: Scored | None
    ) -> tuple[float, ...] | None:
        place = choice.place(text)
        if place is None:
            return None
        tokens, step = self._tokens_of(choice), token_at(pieces, text, place)
        logs = recorded(step, tokens) if tokens is not None and step is not None else None
        if logs is None and scored is not None:
            logs = scored(text[:place], [option + choice.until for option in choice.options])
        return None if logs is None else tuple(map(float, logs))

    def _tokens_of(self, choice: Choice) -> list[int] | None:
        key = (choice.after, choice.options)
        if key not in self._tokens:
            self._tokens[key] = single_tokens(self._tokenizer, choice.after, choice.options)
        return self._tokens[key]


def single_tokens(tokenizer: PreTrainedTokenizerBase, text: str, options: Sequence[str]) -> list[int] | None:
    """The one token with which each option continues the text; None where one of them has no such token."""
    base = token_ids(tokenizer, text)
    tokens = []
    for option in options:
        whole = token_ids(tokenizer, text + option)
        if whole[:-1] != base:
            return None
        tokens.append(whole[-1])
    return tokens


def token_at(pieces: Sequence[str], text: str, place: int) -> int | None:
    """The index of the token that starts at a character; None where none does, or the pieces are not the text's."""
    if not "".join(pieces).startswith(text):  # an end token may follow that the text does not show
        return None
    offset = 0
    for index, piece in enumerate(pieces):
        if offset >= place:
            return index if offset == place else None
        offset += len(piece)
    return len(pieces) if offset == place else None


def tails(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[int]:
    """How many last tokens of each text to score: those from the first in which the texts differ, one at least."""
    rows = [token_ids(tokenizer, text) for text in texts]
    shortest = min(map(len, rows)) - 1
    common = next((n for n in range(shortest) if len({row[n] for row in rows}) > 1), shortest)
    return [len(row) - common for row in rows]


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The text's tokens and no others."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
