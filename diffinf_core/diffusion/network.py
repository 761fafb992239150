"""The small diffusion autoencoder: a semantic encoder and a conditional UNet (section 3.4).

Both work on a pixel-unshuffled picture, which keeps 64-pixel faces affordable on a CPU. The UNet
is modulated by the time, by the semantic code z_sem and, where the data has labels, by one embedding
per attribute; each attribute has an extra "unknown" row, used for label dropout and for guidance.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_GROUPS = 8
_TIME_FEATURES = 64
LABEL_FEATURES = 64


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(_GROUPS, channels)


def time_features(t: Tensor) -> Tensor:
    """Sinusoidal features (B, 64) of long times (B,)."""
    half = _TIME_FEATURES // 2
    rate = torch.exp(-math.log(10000) * torch.arange(half, device=t.device) / half)
    angle = t.float()[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], 1)


class _EncoderBlock(nn.Module):
    def __init__(self, cin: int, cout: int, down: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(cin), _norm(cout)
        self.conv1 = nn.Conv2d(cin, cout, 3, 2 if down else 1, 1)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1)
        self.skip = nn.Sequential(
            nn.AvgPool2d(2) if down else nn.Identity(), nn.Conv2d(cin, cout, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))


class SemanticEncoder(nn.Module):
    """E_phi: pictures (B, 3, S, S) in [-1, 1] to z_sem (B, d), each row with mean 0 and variance 1.

    ``channels`` and ``size`` are those of its input where that is not a picture.

    The fixed norm makes the training noise on z_sem mean the same for every picture.
    """

    def __init__(self, size: int, z_dim: int, width: int, patch: int, channels: int = 3) -> None:
        super().__init__()
        self.patch = patch
        self.stem = nn.Conv2d(channels * patch * patch, width, 3, 1, 1)
        widths = [width, 2 * width, 3 * width, 4 * width]
        blocks: list[nn.Module] = [_EncoderBlock(width, width, False)]
        side = size // patch
        for cin, cout in pairwise(widths):
            blocks.append(_EncoderBlock(cin, cout, True))
            side //= 2
        while side > 4:
            blocks.append(_EncoderBlock(widths[-1], widths[-1], True))
            side //= 2
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            _norm(widths[-1]),
            nn.SiLU(),
            nn.Conv2d(widths[-1], 2 * width, 1),
            nn.Flatten(),
            nn.Linear(2 * width * side * side, z_dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        z = self.head(self.blocks(self.stem(F.pixel_unshuffle(x, self.patch))))
        return F.layer_norm(z.float(), (z.shape[1],))


class WarmupDecoder(nn.Module):
    """z_sem (B, d) straight to a picture; trains the encoder before diffusion starts.

    Used in training only and not part of the shipped weights.
    """

    def __init__(self, size: int, z_dim: int, width: int, patch: int, channels: int = 3) -> None:
        super().__init__()
        self.patch, self.width, self.side = patch, width, size // patch
        widths = [4 * width, 4 * width, 3 * width, 2 * width, width]
        self.lift = nn.Linear(z_dim, widths[0] * 16)
        layers: list[nn.Module] = []
        side = 4
        for i in range(1, len(widths)):
            layers += [nn.Conv2d(widths[i - 1], widths[i], 3, 1, 1), _norm(widths[i]), nn.SiLU()]
            if side < size // patch:
                layers.append(nn.Upsample(scale_factor=2))
                side *= 2
        while side < size // patch:
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, 1, 1), nn.SiLU()]
            side *= 2
        layers.append(nn.Conv2d(width, channels * patch * patch, 3, 1, 1))
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        h = self.lift(z).view(-1, 4 * self.width, 4, 4)
        out = self.layers(h)
        if out.shape[-1] != self.side:  # doubling from 4 does not meet every size
            out = F.interpolate(out, (self.side, self.side), mode="bilinear", align_corners=False)
        return F.pixel_shuffle(out, self.patch)


class _Block(nn.Module):
    """Residual block; scale and shift come from the time and, separately, from code and labels.

    ``dropout`` acts in training only, before the second convolution.
    """

    dropout = 0.0

    def __init__(self, cin: int, cout: int, embed: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(cin), _norm(cout)
        self.conv1 = nn.Conv2d(cin, cout, 3, 1, 1)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1)
        self.skip = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()
        self.from_time = nn.Linear(embed, 2 * cout)
        self.from_code = nn.Linear(embed, 2 * cout)
        # A block starts as its skip connection, which is what keeps early training stable.
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.from_code.weight)
        nn.init.zeros_(self.from_code.bias)
        if self.conv2.bias is not None:
            nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor, time: Tensor, code: Tensor) -> Tensor:
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        scale_t, shift_t = self.from_time(time)[:, :, None, None].chunk(2, 1)
        scale_z, shift_z = self.from_code(code)[:, :, None, None].chunk(2, 1)
        h = (h * (1 + scale_t) + shift_t) * (1 + scale_z) + shift_z
        h = F.dropout(F.silu(h), self.dropout, self.training)
        return self.skip(x) + self.conv2(h)


class _Attention(nn.Module):
    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = _norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        q, k, v = (
            self.qkv(self.norm(x))
            .reshape(b, 3, self.heads, c // self.heads, h * w)
            .permute(1, 0, 2, 4, 3)
            .contiguous()
        )
        mixed = F.scaled_dot_product_attention(q, k, v).permute(0, 1, 3, 2).reshape(b, c, h, w)
        return x + self.out(mixed)


class ConditionalUNet(nn.Module):
    """D_psi: predicts v = sqrt(abar) eps - sqrt(1 - abar) x_0 from (x_t, t, z_sem, labels).

    ``classes`` holds the number of classes of each attribute and may be empty. Labels are long,
    (B, len(classes)), with -1 for unknown. A network that ``inpaints`` also takes ``surroundings`` (B,
    channels + 1, s, s): x_0 where it is known and 0 elsewhere, then 1 where it is known; None: nothing is.
    The exact conversion from v to x_0 and eps is in :mod:`diffinf_core.diffusion.sampling`.
    """

    def __init__(
        self,
        size: int,
        z_dim: int,
        widths: tuple[int, ...],
        embed: int,
        classes: tuple[int, ...],
        patch: int,
        channels: int = 3,
        inpaints: bool = False,
    ) -> None:
        super().__init__()
        self.patch, self.classes = patch, classes
        # the surroundings: what is known of x_0, and where
        self.around = channels + 1 if inpaints else 0
        self.side = size // patch // 2 ** (len(widths) - 1)
        first, last = widths[0], widths[-1]
        code_in = z_dim + LABEL_FEATURES * len(classes)
        self.stem = nn.Conv2d((channels + self.around) * patch * patch, first, 3, 1, 1)
        self.time = nn.Sequential(
            nn.Linear(_TIME_FEATURES, embed), nn.SiLU(), nn.Linear(embed, embed), nn.SiLU()
        )
        self.labels = nn.ModuleList(nn.Embedding(n + 1, LABEL_FEATURES) for n in classes)
        for table in self.labels:
            assert isinstance(table, nn.Embedding)
            nn.init.normal_(table.weight, std=0.3)
        self.code = nn.Sequential(
            nn.Linear(code_in, embed), nn.SiLU(), nn.Linear(embed, embed), nn.SiLU()
        )
        # z_sem as a small picture: layout (pose, hair outline) is hard to convey by modulation alone.
        self.layout = nn.Linear(code_in, last * self.side * self.side)
        self.down = nn.ModuleList(_Block(w, w, embed) for w in widths)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(widths))
        self.middle_attention = _Attention(last)
        self.middle = _Block(last, last, embed)
        self.up = nn.ModuleList(_Block(2 * w, w, embed) for w in widths)
        self.attention = _Attention(widths[-2])
        self.narrow = nn.ModuleList(_Block(b, a, embed) for a, b in pairwise(widths))
        self.out = nn.Sequential(
            _norm(first), nn.SiLU(), nn.Conv2d(first, channels * patch * patch, 3, 1, 1)
        )
        for parameter in self.out[2].parameters():
            nn.init.zeros_(parameter)

    def drop(self, fraction: float) -> None:
        """Set the dropout of a training, which draws from torch's own generator; 0: none."""
        for module in self.modules():
            if isinstance(module, _Block):
                module.dropout = fraction

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        z_sem: Tensor,
        label: Tensor | None,
        surroundings: Tensor | None = None,
    ) -> Tensor:
        time = self.time(time_features(t).to(x_t.dtype))
        parts = [z_sem.to(x_t.dtype)]
        for i, table in enumerate(self.labels):
            assert isinstance(table, nn.Embedding)
            unknown = self.classes[i]
            if label is None:
                index = torch.full((len(x_t),), unknown, device=x_t.device)
            else:
                index = torch.where(label[:, i] < 0, unknown, label[:, i])
            parts.append(table(index).to(x_t.dtype))
        joined = torch.cat(parts, 1)
        code = self.code(joined)
        seen = x_t
        if self.around:
            if surroundings is None:
                surroundings = x_t.new_zeros(len(x_t), self.around, *x_t.shape[2:])
            seen = torch.cat([x_t, surroundings.to(x_t.dtype)], 1)
        h = self.stem(F.pixel_unshuffle(seen, self.patch))
        skips: list[Tensor] = []
        levels = len(self.down)
        for i, block in enumerate(self.down):
            if i:
                h = self.shrink[i - 1](h)
            if i == levels - 1:
                h = h + self.layout(joined).view(len(h), -1, self.side, self.side)
            h = block(h, time, code)
            skips.append(h)
        h = self.middle(self.middle_attention(h), time, code)
        for i in reversed(range(levels)):
            h = self.up[i](torch.cat([h, skips[i]], 1), time, code)
            if i == levels - 2:
                h = self.attention(h)
            if i:
                h = self.narrow[i - 1](h, time, code)
                h = F.interpolate(h, scale_factor=2.0, mode="nearest")
        return F.pixel_shuffle(self.out(h), self.patch)
