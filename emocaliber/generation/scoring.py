"""Scoring: the log-probability of each of several continuations of the same text, by any tokenizer.

A continuation's tokens are those of the whole text, from the first token in which the continuations differ:
"<answer>happy" may tokenise as ">h" + "appy", and then both tokens belong to the continuation. Where each is one
token more than the common text, one position of one forward pass holds them all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase


def single_tokens(tokenizer: PreTrainedTokenizerBase, text: str, options: Sequence[str]) -> list[int] | None:
    """The one token with which each option continues the text; None where one of them has no such token."""
    base = _ids(tokenizer, text)
    tokens = []
    for option in options:
        whole = _ids(tokenizer, text + option)
        if whole[:-1] != base:
            return None
        tokens.append(whole[-1])
    return tokens


def common_prefix(rows: Sequence[Sequence[int]]) -> int:
    """How many leading tokens all rows share, one fewer than the shortest row at most: each keeps one to score."""
    shortest = min(map(len, rows)) - 1
    return next((n for n in range(shortest) if len({row[n] for row in rows}) > 1), shortest)


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


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
