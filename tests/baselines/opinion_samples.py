"""Random opinions for the tests of their laws."""

from __future__ import annotations

import torch

from emocaliber.baselines.opinions import Opinion, from_evidence

LABELS = 4


def opinions(count: int, rows: int = 200, seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Opinion]:
    """Opinions of evidence between none and about 10⁶, many labels without any."""
    chance = torch.Generator().manual_seed(seed)
    drawn = []
    for _ in range(count):
        size = 10 ** (torch.rand(rows, LABELS, generator=chance, dtype=torch.float64) * 6)
        nonzero = torch.rand(rows, LABELS, generator=chance) < 0.6
        drawn.append(from_evidence((size * nonzero).to(dtype)))
    return drawn


def close(first: Opinion, other: Opinion, tolerance: float = 1e-9) -> bool:
    return torch.allclose(first.belief, other.belief, atol=tolerance) and torch.allclose(
        first.uncertainty, other.uncertainty, rtol=1e-5, atol=tolerance
    )


def opinion(belief: list[float], uncertainty: float) -> Opinion:
    """One row in float64, uniform base rate."""
    known = torch.tensor([belief], dtype=torch.float64)
    rates = torch.full((len(belief),), 1 / len(belief), dtype=torch.float64)
    return Opinion(known, torch.tensor([uncertainty], dtype=torch.float64), rates)
