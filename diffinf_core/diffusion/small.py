"""A small image autoencoder that is trained within minutes: the first stage of a run's own pictures.

Encoder and decoder are a linear map of blocks of 8 x 8 pixels and a convolutional network that is added to
it. The linear maps begin as the pictures' principal components, the networks at zero, so that training starts
from the best that a linear autoencoder can do.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.diffusion.tiny import WIDTH, Block, blocks

#: pixels per latent cell and side
FACTOR = 8
#: pixels of a side that the networks fold into one cell before their first convolution
_FOLD = 4


class SmallEncoder(nn.Module):
    """Pictures (B, 3, S, S) in [0, 1] to latents (B, channels, S/8, S/8)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        w, folded = WIDTH, 3 * _FOLD**2
        self.linear = nn.Conv2d(3, channels, FACTOR, FACTOR)
        self.network = nn.Sequential(
            nn.PixelUnshuffle(_FOLD), nn.Conv2d(folded, w, 3, 1, 1), Block(), Block(),
            nn.Conv2d(w, w, 3, 2, 1), *blocks(3), _zero(nn.Conv2d(w, channels, 3, 1, 1)),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.network(x)


class SmallDecoder(nn.Module):
    """Latents to pictures, the inverse of :class:`SmallEncoder`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        w, folded = WIDTH, 3 * _FOLD**2
        self.linear = nn.ConvTranspose2d(channels, 3, FACTOR, FACTOR)
        self.network = nn.Sequential(
            nn.Conv2d(channels, w, 3, 1, 1), nn.ReLU(), *blocks(3),
            nn.Upsample(scale_factor=2), nn.Conv2d(w, w, 3, 1, 1), Block(), Block(),
            _zero(nn.Conv2d(w, folded, 3, 1, 1)), nn.PixelShuffle(_FOLD),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        return self.linear(z) + self.network(z)


def _zero(last: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(last.weight)
    assert last.bias is not None
    nn.init.zeros_(last.bias)
    return last


@torch.no_grad()
def start_from_components(
    encoder: SmallEncoder, decoder: SmallDecoder, pictures: Iterable[Tensor]
) -> None:
    """Set the linear maps to the principal components of the blocks of ``pictures`` (B, 3, S, S) in [0, 1].

    Latents then have mean 0 and variance 1, or less where blocks vary in fewer ways than there are channels.
    """
    total: Tensor | None = None
    square, n = torch.zeros(()), 0
    for x in pictures:
        blocks_ = F.unfold(x, FACTOR, stride=FACTOR).transpose(1, 2).flatten(0, 1).double()
        total = blocks_.sum(0) + (0 if total is None else total)
        square = square + blocks_.T @ blocks_
        n += len(blocks_)
    assert total is not None
    mean = total / n
    value, vector = torch.linalg.eigh(square / n - mean[:, None] * mean)
    channels = encoder.linear.out_channels
    value, vector = value.flip(0)[:channels], vector.flip(1)[:, :channels]
    deviation = value.clamp_min(1e-6).sqrt()
    encode, decode = (vector / deviation).T, (vector * deviation).T
    assert encoder.linear.bias is not None and decoder.linear.bias is not None
    encoder.linear.weight.copy_(encode.reshape(encoder.linear.weight.shape))
    encoder.linear.bias.copy_(-(encode @ mean))
    decoder.linear.weight.copy_(decode.reshape(decoder.linear.weight.shape))
    # the mean is the same all over a block of 8 x 8 pixels, or nearly: one number per colour holds it
    decoder.linear.bias.copy_(mean.reshape(3, -1).mean(1))
