"""Training a baseline network: batches, early stopping on held-out rows, a temperature fitted on them.

Not a choice of network. The same seed gives the same weights on the same machine.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal

import msgspec
import numpy as np
import torch
from torch import Tensor

from emocaliber.baselines.views import Inputs, Model
from emocaliber.calibration.maps import search_temperature

Progress = Callable[[str], None]
LEAST = 1e-12  # probabilities below it are raised to it before their logarithm


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to train: Adam in batches of `batch_size` rows for at most `epochs`.

    `validation` is the share of training rows held out where none are given, 0 for none; `patience` how many epochs
    without a better held-out log score end training (null: the last epoch's weights are kept); `calibrate` fits a
    temperature on the held-out rows. `scaling` of each feature on the training rows: to [0, 1], or to mean 0 and
    deviation 1.
    """

    epochs: int = 100
    batch_size: int = 200
    learning_rate: float = 0.001
    weight_decay: float = 0.00001
    validation: float = 0.1
    patience: int | None = 15
    calibrate: bool = True
    scaling: Literal["minmax", "standard"] = "standard"
    seed: int = 0


def train(
    model: Model,
    rows: tuple[Inputs, Tensor],
    held_out: tuple[Inputs, Tensor] | None,
    settings: Training,
    on_progress: Progress,
) -> None:
    """Train in place on inputs and targets [n, K]; with patience, restore the weights with the best held-out score."""
    inputs, target = rows
    optimiser = torch.optim.Adam(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    shuffle = torch.Generator().manual_seed(settings.seed)
    best, best_epoch, best_weights = float("inf"), 0, None
    for epoch in range(1, settings.epochs + 1):
        model.train()
        for batch in torch.randperm(len(target), generator=shuffle).split(settings.batch_size):
            optimiser.zero_grad()
            model.loss(inputs.rows(batch), target[batch], epoch).backward()
            optimiser.step()
        if held_out is None or settings.patience is None:
            on_progress(f"epoch {epoch} of {settings.epochs}")
            continue
        score = log_score(model, *held_out)
        on_progress(f"epoch {epoch} of at most {settings.epochs}: held-out log score {score:.4f}")
        if score < best:
            best, best_epoch, best_weights = score, epoch, copy.deepcopy(model.state_dict())
        elif epoch - best_epoch >= settings.patience:
            break
    if best_weights is not None:
        model.load_state_dict(best_weights)
    model.eval()


@torch.no_grad()
def log_score(model: Model, inputs: Inputs, target: Tensor, temperature: float = 1.0) -> float:
    """The mean cross-entropy, in nats, of the projected probability against the target; infinite if undefined."""
    model.eval()
    projected = model.opinion(inputs, temperature).projected.double().clamp_min(LEAST)
    value = float(-(target * projected.log()).sum(-1).mean())
    return value if np.isfinite(value) else float("inf")


def fit_temperature(model: Model, inputs: Inputs, target: Tensor) -> float:
    """The temperature with the least `log_score` on n held-out rows (Guo et al. 2017).

    Targets are mixed with 1 / (n + 1) of the uniform distribution, as if one more row had been seen that nothing is
    known of (after Platt 1999): held-out rows that are all right would else ask for a temperature of zero.
    """
    unseen = 1 / (len(target) + 1)
    smoothed = (1 - unseen) * target + unseen / target.shape[1]
    return search_temperature(lambda temperature: log_score(model, inputs, smoothed, temperature))
