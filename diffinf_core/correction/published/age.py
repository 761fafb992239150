"""The network of age and sex of face-api (Vincent Mühler, Vladimir Mandic; MIT)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.correction.published.layers import (
    SameConv,
    SeparableConv,
    halved,
    resized_tf,
    without_mean_colour,
)


class _Reduction(nn.Module):
    """An Xception block that halves the size, with a 1 x 1 shortcut."""

    def __init__(self, cin: int, cout: int, first: bool = False) -> None:
        super().__init__()
        self.first = first
        self.conv = nn.ModuleList([SeparableConv(cin, cout), SeparableConv(cout, cout)])
        self.short = SameConv(cin, cout, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv[0](x if self.first else F.relu(x))
        return halved(self.conv[1](F.relu(y))) + self.short(x)


class _Middle(nn.Module):
    """An Xception block of three separable convolutions beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.ModuleList([SeparableConv(width, width) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for conv in self.conv:
            y = conv(F.relu(y))
        return x + y


class FaceAge(nn.Module):
    """Age in years (B,) and log-odds of being male (B,)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 3, 2)
        self.blocks = nn.Sequential(
            _Reduction(32, 64, first=True),
            _Reduction(64, 128),
            _Middle(128),
            _Middle(128),
            _Reduction(128, 256),
        )
        self.last = SeparableConv(256, 512)
        self.age = nn.Linear(512, 1)
        self.gender = nn.Linear(512, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.blocks(F.relu(self.stem(without_mean_colour(resized_tf(x, 112), 255.0))))
        y = F.relu(self.last(y)).mean((2, 3))
        male, female = self.gender(y).unbind(1)
        return self.age(y)[:, 0], male - female
