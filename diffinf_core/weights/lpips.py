"""LPIPS 0.1 with AlexNet (Zhang et al. 2018): the network that ships, apart from the lpips package.

The trunk is torchvision's (BSD-3-Clause), the weights of the layers are the authors' (BSD-2-Clause); stored
in float16, distances differ from float32 by at most 1.2e-4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: smallest side in pixels for which LPIPS is used; below it little more than a pixel of conv5 is left
LEAST_SIDE = 64
#: what LPIPS subtracts from pictures in [-1, 1] and divides by
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_WIDTHS = (64, 192, 384, 256, 256)


class LpipsAlex(nn.Module):
    """Activations (B, C, H, W) of five layers, whose squared distance is the metric.

    Each is of unit length per pixel, times the root of its channel's weight: the sum over channels of the
    squared difference, its mean over pixels and the sum over layers is LPIPS.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict(
            {
                "0": nn.Conv2d(3, 64, 11, 4, 2),
                "3": nn.Conv2d(64, 192, 5, 1, 2),
                "6": nn.Conv2d(192, 384, 3, 1, 1),
                "8": nn.Conv2d(384, 256, 3, 1, 1),
                "10": nn.Conv2d(256, 256, 3, 1, 1),
            }
        )
        for i, width in enumerate(_WIDTHS):
            self.register_buffer(f"lin{i}", torch.zeros(1, width, 1, 1))

    def layers(self, x: Tensor) -> list[Tensor]:
        """The rectified activations (B, C, H, W) of the five convolutions of AlexNet."""
        shift, scale = (x.new_tensor(v)[:, None, None] for v in (_SHIFT, _SCALE))
        x, out = (x - shift) / scale, []
        for name, conv in self.features.items():
            x = F.relu(conv(F.max_pool2d(x, 3, 2) if name in ("3", "6") else x))
            out.append(x)
        return out

    def forward(self, x: Tensor) -> list[Tensor]:
        out = []
        for i, layer in enumerate(self.layers(x)):
            # the tiny term keeps the gradient finite where all activations of a pixel are zero
            length = layer.square().sum(1, keepdim=True).add(1e-20).sqrt() + 1e-10
            weight = getattr(self, f"lin{i}").clamp_min(0).sqrt()
            out.append(layer / length * weight)
        return out


def perceptual_distance(features: list[Tensor], reference: list[Tensor]) -> Tensor:
    """L_perc's distance (B,): squared difference of scaled activations, as :class:`LpipsAlex` gives them."""
    layers = [
        (f - r).square().sum(1).mean((1, 2)) for f, r in zip(features, reference, strict=True)
    ]
    return torch.stack(layers).sum(0)
