"""Listening to transformers while it writes a batch: the answers so far are told, and rows that nobody waits for end.

Not an engine. transformers' own streamers take one answer at a time; a stopping criterion sees the whole batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import StoppingCriteria

from emocaliber.generation.engine import OnToken, Request

INTERVAL = 0.05
"""Seconds between two tellings: to decode a long answer anew at every token would cost more than to write it."""


class Listening(StoppingCriteria):
    """Tells `on_token` of each request's text; `begun` is the length of the prompts in tokens.

    `kept` is, of each row, the number of tokens that it had when nobody waited for it any more: padding follows. None
    for all others.
    """

    def __init__(
        self, batch: Sequence[Request], on_token: OnToken, begun: int, decode: Callable[[Sequence[int]], str]
    ) -> None:
        self._batch, self._on_token, self._begun, self._decode = batch, on_token, begun, decode
        self._last = time.monotonic()
        self.kept: list[int | None] = [None] * len(batch)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **named: Any) -> torch.Tensor:
        """Which rows end here: [batch]."""
        if time.monotonic() - self._last >= INTERVAL:
            self._last = time.monotonic()
            for n, row in enumerate(input_ids[:, self._begun :].tolist()):
                # a character of several tokens may not be complete yet
                if self.kept[n] is None and not self._on_token(self._batch[n], self._decode(row).rstrip("\ufffd")):
                    self.kept[n] = len(row)
        return torch.tensor([kept is not None for kept in self.kept], device=input_ids.device)
