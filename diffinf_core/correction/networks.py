"""The small perceptors and the judge: identity, face parsing, perceptual features, label.

Each is a few hundred thousand parameters, trained on rendered faces. They take pictures
(B, 3, S, S) in [-1, 1], S a multiple of 8.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.classifier.network import SmallTrunk


class IdentityNet(nn.Module):
    """F_id of equation 10: a unit vector (B, 128) per picture, close for pictures of one person."""

    def __init__(self, width: int = 32, hidden: int = 192, out: int = 128) -> None:
        super().__init__()
        self.trunk = SmallTrunk(width)
        self.hidden = nn.Linear(self.trunk.width, hidden)
        self.out = nn.Linear(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.out(F.relu(self.hidden(self.trunk(x)))), dim=1)


def _conv(cin: int, cout: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU()
    )


class ParsingNet(nn.Module):
    """Logits (B, parts, S, S) of the part each pixel belongs to: a three-level UNet."""

    def __init__(self, parts: int = 8, width: int = 24) -> None:
        super().__init__()
        w = width
        self.top = nn.Sequential(_conv(12, w), _conv(w, w))
        self.mid = nn.Sequential(_conv(w, 2 * w, 2), _conv(2 * w, 2 * w))
        self.low = nn.Sequential(_conv(2 * w, 3 * w, 2), _conv(3 * w, 3 * w), _conv(3 * w, 3 * w))
        self.to_mid = _conv(5 * w, 2 * w)
        self.to_top = nn.Sequential(_conv(3 * w, 2 * w), _conv(2 * w, 2 * w))
        self.out = nn.Conv2d(2 * w, 4 * parts, 1)

    def forward(self, x: Tensor) -> Tensor:
        top = self.top(F.pixel_unshuffle(x, 2))
        mid = self.mid(top)
        low = self.low(mid)
        h = self.to_mid(torch.cat([F.interpolate(low, scale_factor=2.0), mid], 1))
        h = self.to_top(torch.cat([F.interpolate(h, scale_factor=2.0), top], 1))
        return F.pixel_shuffle(self.out(h), 2)


class PerceptualTrunk(nn.Module):
    """A small VGG-like trunk; ``forward`` gives the activations of its three stages."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        w = width
        self.stages = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(3, w, 4, 2, 1), nn.ReLU()),
                nn.Sequential(
                    nn.Conv2d(w, 2 * w, 3, 2, 1),
                    nn.ReLU(),
                    nn.Conv2d(2 * w, 2 * w, 3, 1, 1),
                    nn.ReLU(),
                ),
                nn.Sequential(
                    nn.Conv2d(2 * w, 4 * w, 3, 2, 1),
                    nn.ReLU(),
                    nn.Conv2d(4 * w, 4 * w, 3, 1, 1),
                    nn.ReLU(),
                ),
            ]
        )
        self.width = 4 * w

    def forward(self, x: Tensor) -> list[Tensor]:
        out = []
        for stage in self.stages:
            x = stage(x)
            out.append(x)
        return out


class _Depthwise(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(width, width, 5, 1, 2, groups=width)
        self.norm = nn.GroupNorm(1, width)
        self.mix = nn.Sequential(
            nn.Conv2d(width, 2 * width, 1), nn.GELU(), nn.Conv2d(2 * width, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(self.norm(self.spatial(x)))


class JudgeNet(nn.Module):
    """The independent judge: logits per attribute from a ConvNeXt-like network.

    Deliberately unlike the classifiers (depthwise kernels, GroupNorm, GELU, no BatchNorm), so that an
    adversarial pattern for one has no reason to transfer to the other. ``forward`` gives one (B, classes)
    tensor per attribute.
    """

    def __init__(self, classes: tuple[int, ...], width: int = 40) -> None:
        super().__init__()
        w = width
        self.body = nn.Sequential(
            nn.Conv2d(3, w, 4, 4),
            nn.GroupNorm(1, w),
            _Depthwise(w),
            _Depthwise(w),
            nn.Conv2d(w, 2 * w, 2, 2),
            _Depthwise(2 * w),
            _Depthwise(2 * w),
            nn.Conv2d(2 * w, 3 * w, 2, 2),
            _Depthwise(3 * w),
            _Depthwise(3 * w),
            nn.GroupNorm(1, 3 * w),
        )
        self.hidden = nn.Linear(3 * w * 16, 128)
        self.heads = nn.ModuleList(nn.Linear(128, n) for n in classes)

    def forward(self, x: Tensor) -> list[Tensor]:
        h = F.adaptive_avg_pool2d(self.body(x), 4).flatten(1)
        h = F.dropout(F.gelu(self.hidden(h)), 0.1, self.training)
        return [head(h) for head in self.heads]
