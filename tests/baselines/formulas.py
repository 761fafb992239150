"""One sample of three classes, and what formulas are checked with."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

P = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)
Y = torch.tensor([1])


def logits(p: Tensor) -> Tensor:
    """Logits of probabilities, with a gradient."""
    return p.log().clone().requires_grad_()


def gradient(loss: Tensor, z: Tensor) -> list[float]:
    """The gradient of a loss of one sample."""
    (g,) = torch.autograd.grad(loss, z)
    return g[0].tolist()


def near(*values: float, tolerance: float = 1e-6) -> object:
    """Equal to six decimals."""
    return pytest.approx(list(values), abs=tolerance)


def two_logits(losses: Tensor) -> Tensor:
    """Logits (B, 2) whose cross-entropy for class 0 is ``losses``."""
    p = torch.exp(-losses)
    return torch.stack([p.log(), (1 - p).log()], 1)
