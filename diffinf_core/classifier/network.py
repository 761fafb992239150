"""The classifiers f_theta: ResNet-18 as in the paper, and a small residual network for the demo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.records import DiffInfError

#: file name of torchvision's published ImageNet weights, in the weights folder
IMAGENET_FILE = "resnet18-f37072fd.pth"


class _Residual(nn.Module):
    def __init__(self, cin: int, cout: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(cout)
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or cin != cout:
            self.skip = nn.Sequential(
                nn.AvgPool2d(stride) if stride > 1 else nn.Identity(),
                nn.Conv2d(cin, cout, 1, bias=False),
                nn.BatchNorm2d(cout),
            )

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.skip(x) + self.norm2(self.conv2(h)))


class Classifier(nn.Module):
    """A trunk and a two-layer head.

    ``features`` is the activation between the two layers, g(x) of equation 12; ``forward`` gives
    logits (B, classes). Pictures are (B, 3, S, S) in [-1, 1].
    """

    def __init__(self, trunk: nn.Module, trunk_width: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.hidden = nn.Linear(trunk_width, hidden)
        self.output = nn.Linear(hidden, classes)

    @property
    def feature_width(self) -> int:
        return self.hidden.out_features

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.hidden(self.trunk(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.features(x))


class SmallTrunk(nn.Module):
    """Three residual stages on 4x4 pixel blocks: a hundredth of ResNet-18's work at 64 pixels."""

    def __init__(self, width: int = 32, grid: int = 2) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(48, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.stages = nn.Sequential(
            _Residual(width, width),
            _Residual(width, 2 * width, 2),
            _Residual(2 * width, 4 * width, 2),
        )
        self.grid = grid
        self.width = 4 * width * grid * grid

    def forward(self, x: Tensor) -> Tensor:
        h = self.stages(self.stem(F.pixel_unshuffle(x, 4)))
        return F.adaptive_avg_pool2d(h, self.grid).flatten(1)


def _small(classes: int, weights: Path | None) -> Classifier:
    trunk = SmallTrunk()
    return Classifier(trunk, trunk.width, 64, classes)


def _resnet18(classes: int, weights: Path | None) -> Classifier:
    from torchvision.models import resnet18

    net: Any = resnet18(weights=None)
    if weights is not None:
        try:
            net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        except Exception as error:
            raise DiffInfError(
                f"{weights} is not a readable file of torchvision's ResNet-18 weights; "
                "remove it or fetch it again."
            ) from error
    net.fc = nn.Identity()
    return Classifier(net, 512, 256, classes)


ARCHITECTURES: dict[str, Callable[[int, Path | None], Classifier]] = {
    "small": _small,
    "resnet18": _resnet18,
}


def build_classifier(name: str, classes: int, weights: Path | None = None) -> Classifier:
    """A classifier by name ("small" or "resnet18").

    ``weights`` is a file of torchvision's ImageNet weights for ResNet-18; without it the network
    starts from scratch. Raises :class:`DiffInfError` for a corrupt file.
    """
    return ARCHITECTURES[name](classes, weights)
