"""dlib's residual networks (Davis King, CC0 1.0): identity as in face-api, age by Cydral Technology."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.correction.published.layers import (
    resized_cubic,
    resized_tf,
    without_mean_colour,
)


class _Block(nn.Module):
    """A residual block; a halving one pools its shortcut and fills what is missing with zeros."""

    def __init__(self, cin: int, cout: int, halves: bool = False) -> None:
        super().__init__()
        self.halves = halves
        self.conv1 = nn.Conv2d(cin, cout, 3, 2 if halves else 1, 0 if halves else 1)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x)))
        if self.halves:
            x = F.avg_pool2d(x, 2)
            x = F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
            y = F.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))
        return F.relu(x + y)


class _Trunk(nn.Module):
    """7 x 7 with stride 2, a maximum, then blocks (in, out, halves), and the mean over pixels."""

    def __init__(self, blocks: list[tuple[int, int, bool]]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, blocks[0][0], 7, 2)
        self.blocks = nn.Sequential(*(_Block(*block) for block in blocks))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(F.max_pool2d(F.relu(self.stem(x)), 3, 2)).mean((2, 3))


def _same(width: int, count: int) -> list[tuple[int, int, bool]]:
    return [(width, width, False)] * count


class DlibIdentity(nn.Module):
    """dlib_face_recognition_resnet_model_v1: vectors (B, 128), not of unit length.

    Its author calls two tight, aligned crops the same person below a distance of 0.6. On full crops of
    128 pixels :data:`SAME_PERSON` tells people apart best.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk = _Trunk(
            [
                *_same(32, 3), (32, 64, True), *_same(64, 3), (64, 128, True), *_same(128, 2),
                (128, 256, True), *_same(256, 2), (256, 256, True),
            ]
        )  # fmt: skip
        self.fc = nn.Linear(256, 128, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.trunk(without_mean_colour(resized_tf(x, 150), 255.0)))


#: Euclidean distance of :class:`DlibIdentity` vectors below which two full face crops are of one person
SAME_PERSON = 0.56


class DlibAge(nn.Module):
    """dnn_age_predictor_v1: probabilities (B, 81) of the ages 0 to 80 years."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = _Trunk(
            [
                (64, 64, False),
                (64, 128, True),
                (128, 128, False),
                (128, 256, True),
                (256, 256, False),
            ]
        )
        self.fc = nn.Linear(256, 81)
        years = torch.arange(81, dtype=torch.float32)
        years[0] = 0.25
        self.register_buffer("years", years, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.trunk(without_mean_colour(resized_cubic(x, 64), 256.0))).softmax(1)

    def expected(self, x: Tensor) -> Tensor:
        """The mean age (B,) in years."""
        return self(x) @ self.years
