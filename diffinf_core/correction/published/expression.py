"""The expression network of face-api (Vincent Mühler, Vladimir Mandic; MIT)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.correction.published.layers import (
    SameConv,
    SeparableConv,
    resized_tf,
    without_mean_colour,
)


class _DenseBlock(nn.Module):
    """Four convolutions, each fed by the sum of all before it; the first halves the size."""

    def __init__(self, cin: int, cout: int, first: bool = False) -> None:
        super().__init__()
        head = SameConv(cin, cout, 3, 2) if first else SeparableConv(cin, cout, 2)
        self.conv = nn.ModuleList([head, *(SeparableConv(cout, cout) for _ in range(3))])

    def forward(self, x: Tensor) -> Tensor:
        total = F.relu(self.conv[0](x))
        for conv in self.conv[1:]:
            total = total + conv(F.relu(total))
        return F.relu(total)


class FaceExpression(nn.Module):
    """Logits (B, 7) of :attr:`CLASSES`."""

    CLASSES = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Sequential(
            _DenseBlock(3, 32, first=True),
            _DenseBlock(32, 64),
            _DenseBlock(64, 128),
            _DenseBlock(128, 256),
        )
        self.fc = nn.Linear(256, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.dense(without_mean_colour(resized_tf(x, 112), 255.0)).mean((2, 3)))
