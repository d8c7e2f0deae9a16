"""Log-probabilities of the options at the choices of a generated answer, such as all labels where one was written.

Not a model: an engine supplies the log-probabilities that it recorded while decoding, and a function that scores the
others. Works with any tokenizer: "<answer>happy" may tokenise as ">h" + "appy", where no token is the label alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emocaliber.generation.engine import Choice, Request

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Recorded = Callable[[int, Sequence[int]], Sequence[float] | None]
"""From a step of the answer and token ids to their log-probabilities there; None where they were not recorded."""
Score = Callable[[Sequence[Request], Sequence[str], Sequence[str], str], NDArray[np.float64]]
"""An engine's `score_continuations`: from requests, answer prefixes, continuations and the text that ends them to
log-probabilities [requests, continuations]."""
Choices = tuple[tuple[float, ...] | None, ...]


@dataclass(frozen=True)
class Answer:
    """A generated answer: its request, text and tokens (`row`), and the log-probabilities recorded with it."""

    request: Request
    text: str
    row: Sequence[int]
    recorded: Recorded


@dataclass(frozen=True)
class Endings:
    """Tokenised texts with a common prefix: the shared tokens, and each text's remaining ones, at least one."""

    shared: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]


class ChoiceReader:
    """Reads the choices of answers that were generated with one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._tokens: dict[tuple[str, tuple[str, ...]], list[int] | None] = {}
        self.endings = lru_cache(maxsize=4096)(partial(endings, tokenizer))

    def tokens_to_record(self, requests: Iterable[Request]) -> list[int]:
        """The tokens, sorted, whose log-probabilities must be recorded at each step for all single-token choices."""
        choices = {choice for request in requests for choice in request.choices}
        return sorted({token for choice in choices for token in self._tokens_of(choice) or ()})

    def read(self, answers: Sequence[Answer], score: Score | None) -> list[Choices]:
        """The options' log-probabilities for each choice of each answer; None where the text does not have the choice,
        or they were not recorded and there is no `score`. Everything to be scored is scored together, for batching.
        """
        choices_of: list[list[tuple[float, ...] | None]] = []
        missing: defaultdict[tuple[tuple[str, ...], str], list[tuple[int, int, str]]] = defaultdict(list)
        for index, answer in enumerate(answers):
            choices_of.append([])
            pieces = self._pieces(answer.row) if answer.request.choices else []
            for number, choice in enumerate(answer.request.choices):
                place = choice.place(answer.text)
                logs = None if place is None else self._recorded(choice, answer, pieces, place)
                choices_of[-1].append(logs)
                if place is not None and logs is None:
                    missing[choice.options, choice.until].append((index, number, answer.text[:place]))
        if score is not None:
            for (options, until), places in missing.items():
                requests = [answers[index].request for index, _, _ in places]
                scores = score(requests, [beginning for _, _, beginning in places], options, until)
                for (index, number, _), row in zip(places, scores.tolist(), strict=True):
                    choices_of[index][number] = tuple(row)
        return [tuple(choices) for choices in choices_of]

    def _pieces(self, row: Sequence[int]) -> list[str]:
        decode = self._tokenizer.decode
        return [str(decode([token], clean_up_tokenization_spaces=False)) for token in row]

    def _recorded(self, choice: Choice, answer: Answer, pieces: Sequence[str], place: int) -> tuple[float, ...] | None:
        tokens, step = self._tokens_of(choice), token_at(pieces, answer.text, place)
        logs = answer.recorded(step, tokens) if tokens is not None and step is not None else None
        return None if logs is None else tuple(map(float, logs))

    def _tokens_of(self, choice: Choice) -> list[int] | None:
        key = (choice.after, choice.options)
        if key not in self._tokens:
            self._tokens[key] = single_tokens(self._tokenizer, choice.after, choice.options)
        return self._tokens[key]


def single_tokens(tokenizer: PreTrainedTokenizerBase, text: str, options: Sequence[str]) -> list[int] | None:
    """The single token by which each option continues the text; None where an option takes several."""
    base = token_ids(tokenizer, text)
    tokens = []
    for option in options:
        with_option = token_ids(tokenizer, text + option)
        if with_option[:-1] != base:
            return None
        tokens.append(with_option[-1])
    return tokens


def token_at(pieces: Sequence[str], text: str, place: int) -> int | None:
    """The index of the token that starts at a character offset; None where none does, or the pieces do not add up to
    the text."""
    if not "".join(pieces).startswith(text):  # an end token may follow that the text does not show
        return None
    offset = 0
    for index, piece in enumerate(pieces):
        if offset >= place:
            return index if offset == place else None
        offset += len(piece)
    return len(pieces) if offset == place else None


def endings(tokenizer: PreTrainedTokenizerBase, text: str, continuations: tuple[str, ...], until: str = "") -> Endings:
    """The tokens of each continuation of the text and the first token of `until`, so that "</" distinguishes "joy" from
    "joyful"."""
    rows = [_ended(tokenizer, text + continuation, until) for continuation in continuations]
    shortest = min(map(len, rows)) - 1
    common = next((n for n in range(shortest) if len({row[n] for row in rows}) > 1), shortest)
    return Endings(tuple(rows[0][:common]), tuple(tuple(row[common:]) for row in rows))


def tree_nodes(rows: Iterable[tuple[int, ...]], most: int) -> list[tuple[tuple[int, ...], list[int]]]:
    """The inner nodes of the rows' prefix tree: each prefix with its next tokens, at most `most` of them at a time."""
    next_tokens: defaultdict[tuple[int, ...], set[int]] = defaultdict(set)
    for row in rows:
        for n, token in enumerate(row):
            next_tokens[row[:n]].add(token)
    nodes = []
    for prefix, tokens in next_tokens.items():
        listed = sorted(tokens)
        nodes += [(prefix, listed[start : start + most]) for start in range(0, len(listed), most)]
    return nodes


def _ended(tokenizer: PreTrainedTokenizerBase, text: str, until: str) -> list[int]:
    row, unended = token_ids(tokenizer, text + until), token_ids(tokenizer, text)
    return row[: len(unended) + 1] if row[: len(unended)] == unended else row


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The text's tokens, without special ones."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
