"""Losses of the evidential and confidence-estimating baselines, one value a row.

Not a training loop. `concentration` alpha [n, K] >= 1 is a Dirichlet's, `target` y [n, K] sums to 1: a label as
one-hot, or the raters' shares. Digammas and log-gammas are taken in float64: in float32 they cancel at 10⁶.

    python -m pytest tests/baselines/test_losses.py
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def squared_error(concentration: Tensor, target: Tensor) -> Tensor:
    """Expected squared error under the Dirichlet [n]: (y - p)² + p (1 - p) / (S + 1) (Sensoy et al. 2018, eq. 5)."""
    total = concentration.sum(-1, keepdim=True)
    mean = concentration / total
    return ((target - mean) ** 2 + mean * (1 - mean) / (total + 1)).sum(-1)


def log_evidence(concentration: Tensor, target: Tensor) -> Tensor:
    """Negative log marginal likelihood [n]: sum of y (ln S - ln alpha) (Sensoy et al. 2018, equation 3).

    It is the logarithmic score of the Dirichlet's mean, so a proper score of the projected probability.
    """
    return (target * (concentration.sum(-1, keepdim=True).log() - concentration.log())).sum(-1)


def digamma_cross_entropy(concentration: Tensor, target: Tensor) -> Tensor:
    """Expected cross-entropy under the Dirichlet [n]: sum of y (psi(S) - psi(alpha)) (Sensoy et al. 2018, equation 4;
    TMC's and ECML's integrated cross-entropy)."""
    alpha = concentration.double()
    difference = torch.digamma(alpha.sum(-1, keepdim=True)) - torch.digamma(alpha)
    return (target * difference).sum(-1).to(concentration.dtype)


def kl_to_uniform(concentration: Tensor) -> Tensor:
    """KL(Dir(alpha) || Dir(1)) [n], in nats (Sensoy et al. 2018, section 4)."""
    alpha = concentration.double()
    total, labels = alpha.sum(-1, keepdim=True), alpha.shape[-1]
    constant = torch.lgamma(alpha.new_tensor(float(labels)))
    value = torch.lgamma(total[..., 0]) - torch.lgamma(alpha).sum(-1) - constant
    value = value + ((alpha - 1) * (torch.digamma(alpha) - torch.digamma(total))).sum(-1)
    return value.clamp_min(0.0).to(concentration.dtype)


def misleading_evidence(concentration: Tensor, target: Tensor) -> Tensor:
    """`kl_to_uniform` [n] once the evidence for the target is taken away: alpha~ = y + (1 - y) alpha.

    For shares y this takes evidence away in proportion (ours: the papers have one-hot targets).
    """
    return kl_to_uniform(target + (1 - target) * concentration)


def annealing(epoch: int, over: int) -> float:
    """min(1, epoch / over): the weight of `misleading_evidence` in epoch 1, 2, ...; 1 where `over` is 0."""
    return min(1.0, epoch / over) if over else 1.0


def confidence_regression(confidence: Tensor, probabilities: Tensor, target: Tensor) -> Tensor:
    """Squared error [n] of a stated confidence [n] against the true class's probability (Han et al. 2022, "Multimodal
    Dynamics"; Corbière et al. 2019).

    The probability is a constant here, so that the confidence head cannot pull the classifier (ours).
    """
    return (confidence - (probabilities.detach() * target).sum(-1)) ** 2


def trusted_cross_entropy(log_probabilities: Tensor, confidence: Tensor, target: Tensor) -> Tensor:
    """TER's trusted cross-entropy [n] (reconstruction; the paper's exact form was not available).

    Ours: cross-entropy of each modality's prediction plus `confidence_regression` of its confidence.
    `log_probabilities` [n, K], `confidence` [n].
    """
    error = -(target * log_probabilities).sum(-1)
    return error + confidence_regression(confidence, log_probabilities.exp(), target)


def jensen_shannon(first: Tensor, other: Tensor) -> Tensor:
    """Jensen–Shannon divergence [n] of two distributions [n, K], in nats, at most ln 2."""
    middle = ((first + other) / 2).clamp_min(torch.finfo(first.dtype).tiny).log()
    return (_relative_entropy(first, middle) + _relative_entropy(other, middle)) / 2


def _relative_entropy(share: Tensor, log_reference: Tensor) -> Tensor:
    return F.kl_div(log_reference, share, reduction="none").sum(-1)
