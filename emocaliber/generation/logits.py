"""What the transformers engine does with logits: record some, sum some, draw from them. Nothing here changes a
greedy answer.

Not an engine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LogitsProcessor


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

    Each row has its own generator, so that an answer depends on its seed and not on the batch it was drawn in.
    """

    def __init__(self, seeds: Sequence[int], temperature: float) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._temperature = temperature

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        width = scores.shape[-1]
        exponential = [torch.empty(width).exponential_(generator=generator) for generator in self._generators]
        return scores.float() / self._temperature - torch.stack(exponential).log().to(scores.device)


def tail_log_probabilities(logits: torch.Tensor, ids: torch.Tensor, tails: Sequence[int]) -> NDArray[np.float64]:
    """The summed log-probability of each row's last tokens.

    logits: [rows, kept, vocabulary], of the last `kept` positions of left-padded rows; ids: [rows, length];
    tails: how many tokens of each row to sum, each at most kept - 1. Returns [rows], in nats.
    """
    kept = logits.shape[1]
    logs = torch.log_softmax(logits[:, :-1].float(), dim=-1)
    targets = ids[:, -(kept - 1) :]
    chosen = logs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    positions = torch.arange(kept - 1, 0, -1, device=ids.device)
    wanted = positions.unsqueeze(0) <= torch.tensor(tails, device=ids.device).unsqueeze(1)
    summed: NDArray[np.float64] = (chosen * wanted).sum(-1).double().cpu().numpy()
    return summed
