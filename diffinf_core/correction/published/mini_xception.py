"""mini_XCEPTION (Arriaga et al. 2017, MIT): expressions of FER-2013 in grey pictures of 64 pixels."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.correction.published.layers import (
    SameConv,
    SeparableConv,
    halved,
    resized_cubic,
)

#: luma of red, green and blue (ITU-R BT.601)
_LUMA = (0.299, 0.587, 0.114)


class _Block(nn.Module):
    """Two separable convolutions, halved, beside a 1 x 1 shortcut; normalisation is folded in."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv = nn.ModuleList([SeparableConv(cin, cout), SeparableConv(cout, cout)])
        self.short = SameConv(cin, cout, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return halved(self.conv[1](F.relu(self.conv[0](x)))) + self.short(x)


class MiniXception(nn.Module):
    """Logits (B, 7) of :attr:`CLASSES`."""

    CLASSES = ("angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral")

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.ModuleList([nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3)])
        self.blocks = nn.Sequential(_Block(8, 16), _Block(16, 32), _Block(32, 64), _Block(64, 128))
        self.last = nn.Conv2d(128, 7, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        luma = x.new_tensor(_LUMA)[:, None, None]
        y = resized_cubic((x * luma).sum(1, keepdim=True), 64)
        for conv in self.stem:
            y = F.relu(conv(y))
        return self.last(self.blocks(y)).mean((2, 3))
