"""What a vocabulary's logits sum to is found by parts, and is right."""

from __future__ import annotations

import pytest
import torch

from emocaliber.stages.soft_targets import LogSumExp


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_sum_and_gradient_are_those_of_the_whole(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    logits = (5 * torch.randn(7, 5, 300)).to(dtype).requires_grad_()  # 35 rows: two parts and a rest
    upstream = torch.randn(7, 5)
    value = LogSumExp.apply(logits)  # type: ignore[no-untyped-call]
    value.backward(upstream)
    exact = logits.detach().double().requires_grad_()
    wanted = exact.logsumexp(-1)
    wanted.backward(upstream.double())
    assert value.dtype == torch.float32
    assert logits.grad is not None
    assert exact.grad is not None
    assert logits.grad.dtype == dtype
    torch.testing.assert_close(value.double(), wanted, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(logits.grad.double(), exact.grad, rtol=tolerance, atol=tolerance)
