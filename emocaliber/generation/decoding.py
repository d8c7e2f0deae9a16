"""Hooks into the transformers engine's decoding: record log-probabilities, sample, and stream a batch's answers.

The recorder never changes an answer; Gumbel noise turns greedy decoding into sampling. Streaming uses a stopping
criterion, which sees the whole batch; transformers' own streamers take a single answer.
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
"""Seconds between two updates: detokenising a long answer after every token would take longer than generating it."""


class OptionRecorder(LogitsProcessor):
    """Records the log-probabilities of the given tokens at every step; changes nothing."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._columns = {token: column for column, token in enumerate(tokens)}
        self._tokens = list(tokens)
        self._steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self._tokens:
            self._steps.append(torch.log_softmax(scores.float(), dim=-1)[:, self._tokens])
        return scores

    def at(self, row: int, step: int, tokens: Sequence[int]) -> list[float] | None:
        """The log-probabilities, in nats, of tokens at one step of one row; None after the last step."""
        if step >= len(self._steps):
            return None
        columns = [self._columns[token] for token in tokens]
        logs: list[float] = self._steps[step][row, columns].tolist()
        return logs


class GumbelNoise(LogitsProcessor):
    """Turns greedy decoding into sampling: the argmax of logits / T + Gumbel noise is a sample at temperature T.

    Each row has its own generator, so that an answer depends on its seed and not on its batch. `temperature` is one for
    all rows or one for each; a row with 0 is decoded greedily.
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


class StreamingCriterion(StoppingCriteria):
    """Calls `on_token` with each request's text so far, and stops rows for which it returns False.

    `prompt_length` is in tokens. `ended` holds, for each row stopped in this way, its number of tokens at that time
    (padding follows), None for the others.
    """

    def __init__(
        self, batch: Sequence[Request], on_token: OnToken, prompt_length: int, decode: Callable[[Sequence[int]], str]
    ) -> None:
        self._batch, self._on_token, self._prompt_length, self._decode = batch, on_token, prompt_length, decode
        self._last = time.monotonic()
        self.ended: list[int | None] = [None] * len(batch)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **named: Any) -> torch.Tensor:
        """Which rows stop now: [batch]."""
        if time.monotonic() - self._last >= INTERVAL:
            self._last = time.monotonic()
            for n, row in enumerate(input_ids[:, self._prompt_length :].tolist()):
                # a character of several tokens may not be complete yet
                if self.ended[n] is None and not self._on_token(self._batch[n], self._decode(row).rstrip("\ufffd")):
                    self.ended[n] = len(row)
        return torch.tensor([ended is not None for ended in self.ended], device=input_ids.device)


def padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of tokens padded with 0 on the right, [rows, longest], and their mask of ones and zeros."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
    return ids, mask


def row_log_probabilities(logits: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> NDArray[np.float64]:
    """The summed log-probability, in nats, of each row's unmasked tokens: [rows].

    `logits` [rows, length, vocabulary] predict the tokens `ids` [rows, length]; `mask` [rows, length] is 0 for padding.
    """
    logs = torch.log_softmax(logits.float(), dim=-1).gather(-1, ids.unsqueeze(-1)).squeeze(-1)
    summed: NDArray[np.float64] = (logs * mask).sum(-1).double().cpu().numpy()
    return summed
