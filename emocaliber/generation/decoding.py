"""What the transformers engine does while it decodes: record probabilities, draw, tell of the answers so far.

A recorder changes no greedy answer; noise makes a draw of it. transformers' own streamers take one answer at a time, a
stopping criterion sees the whole batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LogitsProcessor, StoppingCriteria

from emocaliber.generation.engine import OnToken, Request

INTERVAL = 0.05
"""Seconds between two tellings: to decode a long answer anew at every token would cost more than to write it."""


class OptionRecorder(LogitsProcessor):
    """Records, step by step, the log-probabilities of the tokens asked about; changes nothing."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._columns = {token: column for column, token in enumerate(tokens)}
        self._tokens = list(tokens)
        self._steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self._tokens:
            self._steps.append(torch.log_softmax(scores.float(), dim=-1)[:, self._tokens])
        return scores

    def at(self, row: int, step: int, tokens: Sequence[int]) -> list[float] | None:
        """The log-probabilities, in nats, of tokens at one step of one row; None past the last step."""
        if step >= len(self._steps):
            return None
        columns = [self._columns[token] for token in tokens]
        logs: list[float] = self._steps[step][row, columns].tolist()
        return logs


class GumbelNoise(LogitsProcessor):
    """Turns the greedy choice into a draw at a temperature: the arg max of logits / T + Gumbel noise is a sample.

    Each row has its own generator, so that an answer depends on its seed and not on the batch it was drawn in. Of
    several temperatures each row has its own; one of 0 leaves it greedy.
    """

    def __init__(self, seeds: Sequence[int], temperature: float | Sequence[float]) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        each = [temperature] * len(seeds) if isinstance(temperature, float) else list(temperature)
        self._temperature = torch.tensor([t or 1.0 for t in each])[:, None]
        self._drawn = torch.tensor([t > 0 for t in each])[:, None]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        width = scores.shape[-1]
        exponential = [torch.empty(width).exponential_(generator=generator) for generator in self._generators]
        noise = torch.where(self._drawn, torch.stack(exponential).log(), 0.0).to(scores.device)
        return scores.float() / self._temperature.to(scores.device) - noise


class Listening(StoppingCriteria):
    """Tells `on_token` of each request's text; `begun` is the length of the prompts in tokens.

    `ended` is, of each row, the number of tokens that it had when nobody waited for it any more: padding follows. None
    for all others.
    """

    def __init__(
        self, batch: Sequence[Request], on_token: OnToken, begun: int, decode: Callable[[Sequence[int]], str]
    ) -> None:
        self._batch, self._on_token, self._begun, self._decode = batch, on_token, begun, decode
        self._last = time.monotonic()
        self.ended: list[int | None] = [None] * len(batch)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **named: Any) -> torch.Tensor:
        """Which rows end here: [batch]."""
        if time.monotonic() - self._last >= INTERVAL:
            self._last = time.monotonic()
            for n, row in enumerate(input_ids[:, self._begun :].tolist()):
                # a character of several tokens may not be complete yet
                if self.ended[n] is None and not self._on_token(self._batch[n], self._decode(row).rstrip("\ufffd")):
                    self.ended[n] = len(row)
        return torch.tensor([ended is not None for ended in self.ended], device=input_ids.device)


def padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of tokens, filled up with 0 on the right: [rows, longest]; and which of them count, as ones and zeros."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)
    counted = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
    return ids, counted


def row_log_probabilities(logits: torch.Tensor, ids: torch.Tensor, counted: torch.Tensor) -> NDArray[np.float64]:
    """The summed log-probability, in nats, of each row's tokens that count: [rows].

    logits: [rows, length, vocabulary], those from which each token follows; ids and counted: [rows, length].
    """
    logs = torch.log_softmax(logits.float(), dim=-1).gather(-1, ids.unsqueeze(-1)).squeeze(-1)
    summed: NDArray[np.float64] = (logs * counted).sum(-1).double().cpu().numpy()
    return summed
