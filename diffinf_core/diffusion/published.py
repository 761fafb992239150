"""The published diffusion autoencoder (Preechakul et al. 2022), name for name and digit for digit.

Layout, names and conventions of the released FFHQ, CelebA, bedroom and horse networks, so that their
state dicts load strictly. It predicts epsilon and is not conditioned on labels.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.diffusion import sampling
from diffinf_core.diffusion.autoencoder import Autoencoder, half_precision
from diffinf_core.diffusion.sampling import Predictor, StepCallback, clamped

_GROUPS = 32


class PublishedArchitecture(BaseModel):
    """Shape of a published diffusion autoencoder; stored beside converted weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Literal["diffae"] = "diffae"
    image_size: int = Field(128, ge=16, description="side of the square picture in pixels")
    channels: int = Field(128, ge=8, description="channels of the first level")
    multipliers: tuple[int, ...] = Field((1, 1, 2, 3, 4), description="UNet widths per level")
    encoder_multipliers: tuple[int, ...] = Field(
        (1, 1, 2, 3, 4, 4), description="encoder widths per level"
    )
    res_blocks: int = Field(2, ge=1, description="residual blocks per UNet level")
    encoder_res_blocks: int = Field(2, ge=1, description="residual blocks per encoder level")
    attention_at: tuple[int, ...] = Field((16,), description="resolutions with self-attention")
    heads: int = Field(1, ge=1, description="attention heads")
    embed: int = Field(512, ge=8, description="length of the time embedding")
    z_dim: int = Field(512, ge=8, description="length of z_sem")
    dropout: float = Field(0.1, ge=0, lt=1, description="in training, UNet only")

    @model_validator(mode="after")
    def _fits(self) -> PublishedArchitecture:
        for name in ("multipliers", "encoder_multipliers"):
            levels = getattr(self, name)
            if not levels or self.image_size % 2 ** (len(levels) - 1):
                raise ValueError(
                    f"image_size {self.image_size} cannot be halved {len(levels) - 1} times "
                    f"({name} {levels})."
                )
        return self

    @property
    def attributes(self) -> tuple[()]:
        """None: this generator is unconditional."""
        return ()


#: networks with published weights; bedroom128, horse128 and both FFHQ128 releases share one shape
PUBLISHED: dict[str, PublishedArchitecture] = {
    "ffhq128": PublishedArchitecture(),
    "ffhq256": PublishedArchitecture(
        image_size=256,
        multipliers=(1, 1, 2, 2, 4, 4),
        encoder_multipliers=(1, 1, 2, 2, 4, 4, 4),
    ),
    "celeba64": PublishedArchitecture(
        image_size=64,
        channels=64,
        multipliers=(1, 2, 4, 8),
        encoder_multipliers=(1, 2, 4, 8, 8),
    ),
}


class GroupNorm(nn.GroupNorm):
    """Group norm whose statistics are at least float32."""

    def __init__(self, channels: int) -> None:
        super().__init__(min(_GROUPS, channels), channels)

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype in (torch.float16, torch.bfloat16):
            return super().forward(x.float()).to(x.dtype)
        return super().forward(x)


def time_embedding(t: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding (B, width) of times (B,) in 0..999, cosines first."""
    half = width // 2
    rate = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
    angle = t.float()[:, None] * rate.to(t.device)
    return torch.cat([angle.cos(), angle.sin()], 1)


def _zero(layer: nn.Module) -> nn.Module:
    for p in layer.parameters():
        nn.init.zeros_(p)
    return layer


def _resample(x: Tensor, how: str) -> Tensor:
    if how == "down":
        return F.avg_pool2d(x, 2)
    return F.interpolate(x, scale_factor=2.0, mode="nearest") if how == "up" else x


class ResBlock(nn.Module):
    """Residual block; with ``embed`` it is modulated by the time and by z, without it has one half only."""

    def __init__(
        self,
        cin: int,
        cout: int,
        resample: str = "",
        embed: int | None = None,
        z_dim: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.resample = resample
        self.in_layers = nn.Sequential(GroupNorm(cin), nn.SiLU(), nn.Conv2d(cin, cout, 3, 1, 1))
        self.conditioned = embed is not None
        if embed is not None:
            self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embed, 2 * cout))
            self.cond_emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(z_dim, cout))
            self.out_layers = nn.Sequential(
                GroupNorm(cout),
                nn.SiLU(),
                nn.Dropout(dropout),
                _zero(nn.Conv2d(cout, cout, 3, 1, 1)),
            )
        self.skip_connection = nn.Identity() if cin == cout else nn.Conv2d(cin, cout, 1)

    def forward(self, x: Tensor, time: Tensor | None = None, z: Tensor | None = None) -> Tensor:
        norm, act, conv = self.in_layers
        h = conv(_resample(act(norm(x)), self.resample))
        x = _resample(x, self.resample)
        if self.conditioned:
            norm, act, dropout, conv = self.out_layers
            scale, shift = self.emb_layers(time)[:, :, None, None].chunk(2, 1)
            h = norm(h) * (1 + scale) + shift
            h = h * (1 + self.cond_emb_layers(z)[:, :, None, None])
            h = conv(dropout(act(h)))
        return self.skip_connection(x) + h


class AttentionBlock(nn.Module):
    """Self-attention over pixels; channels are divided into heads first, then into q, k, v."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = _zero(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        b, c = x.shape[:2]
        flat = x.flatten(2)
        q, k, v = self.qkv(self.norm(flat)).view(b * self.heads, -1, flat.shape[2]).chunk(3, 1)
        gain = (c // self.heads) ** -0.25
        weight = torch.einsum("bct,bcs->bts", q * gain, k * gain)
        # softmax in at least float32
        kind = weight.dtype if weight.dtype == torch.float64 else torch.float32
        weight = weight.to(kind).softmax(-1).to(v.dtype)
        mixed = torch.einsum("bts,bcs->bct", weight, v).reshape(b, c, -1)
        return x + self.proj_out(mixed).view_as(x)


def _middle(channels: int, heads: int, **condition: Any) -> nn.ModuleList:
    return nn.ModuleList(
        [
            ResBlock(channels, channels, **condition),
            AttentionBlock(channels, heads),
            ResBlock(channels, channels, **condition),
        ]
    )


class PublishedEncoder(nn.Module):
    """E_phi: pictures (B, 3, S, S) in [-1, 1] to z_sem (B, d)."""

    def __init__(self, a: PublishedArchitecture) -> None:
        super().__init__()
        widths = [m * a.channels for m in a.encoder_multipliers]
        self.input_blocks = nn.ModuleList([nn.ModuleList([nn.Conv2d(3, widths[0], 3, 1, 1)])])
        now, side = widths[0], a.image_size
        for level, width in enumerate(widths):
            for _ in range(a.encoder_res_blocks):
                entry: list[nn.Module] = [ResBlock(now, width)]
                now = width
                if side in a.attention_at:
                    entry.append(AttentionBlock(now, a.heads))
                self.input_blocks.append(nn.ModuleList(entry))
            if level < len(widths) - 1:
                self.input_blocks.append(nn.ModuleList([ResBlock(now, now, "down")]))
                side //= 2
        self.middle_block = _middle(now, a.heads)
        self.out = nn.Sequential(
            GroupNorm(now),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(now, a.z_dim, 1),
            nn.Flatten(),
        )

    def forward(self, x: Tensor) -> Tensor:
        for entry in self.input_blocks:
            assert isinstance(entry, nn.ModuleList)
            for layer in entry:
                x = layer(x)
        for layer in self.middle_block:
            x = layer(x)
        return self.out(x)


class _TimeEmbed(nn.Module):
    def __init__(self, cin: int, width: int) -> None:
        super().__init__()
        self.time_embed = nn.Sequential(nn.Linear(cin, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.time_embed(x)


class PublishedAutoencoder(Autoencoder):
    """The UNet D_psi with its encoder inside, as in the released state dicts.

    Labels are not accepted; full inversion and decoding follow the published respacing.
    """

    architecture: PublishedArchitecture

    def __init__(self, architecture: PublishedArchitecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        condition: dict[str, Any] = {"embed": a.embed, "z_dim": a.z_dim, "dropout": a.dropout}
        widths = [m * a.channels for m in a.multipliers]
        self.time_embed = _TimeEmbed(a.channels, a.embed)
        self.input_blocks = nn.ModuleList([nn.ModuleList([nn.Conv2d(3, widths[0], 3, 1, 1)])])
        now, side = widths[0], a.image_size
        skips = [now]
        for level, width in enumerate(widths):
            for _ in range(a.res_blocks):
                entry: list[nn.Module] = [ResBlock(now, width, **condition)]
                now = width
                if side in a.attention_at:
                    entry.append(AttentionBlock(now, a.heads))
                self.input_blocks.append(nn.ModuleList(entry))
                skips.append(now)
            if level < len(widths) - 1:
                block = ResBlock(now, now, "down", **condition)
                self.input_blocks.append(nn.ModuleList([block]))
                skips.append(now)
                side //= 2
        self.middle_block = _middle(now, a.heads, **condition)
        self.output_blocks = nn.ModuleList()
        for level, width in reversed(list(enumerate(widths))):
            for i in range(a.res_blocks + 1):
                entry = [ResBlock(now + skips.pop(), width, **condition)]
                now = width
                if side in a.attention_at:
                    entry.append(AttentionBlock(now, a.heads))
                if level and i == a.res_blocks:
                    entry.append(ResBlock(now, now, "up", **condition))
                    side *= 2
                self.output_blocks.append(nn.ModuleList(entry))
        self.out = nn.Sequential(GroupNorm(now), nn.SiLU(), _zero(nn.Conv2d(now, 3, 3, 1, 1)))
        self.encoder = PublishedEncoder(a)

    @staticmethod
    def _through(entry: nn.Module, h: Tensor, time: Tensor, z: Tensor) -> Tensor:
        assert isinstance(entry, nn.ModuleList)
        for layer in entry:
            h = layer(h, time, z) if isinstance(layer, ResBlock) else layer(h)
        return h

    def forward(self, x_t: Tensor, t: Tensor, z_sem: Tensor) -> Tensor:
        """Predicted noise (B, 3, S, S) for noisy pictures at times t (B,) in 0..999."""
        time = self.time_embed(time_embedding(t, self.architecture.channels).to(x_t.dtype))
        h, skips = x_t, []
        for entry in self.input_blocks:
            h = self._through(entry, h, time, z_sem)
            skips.append(h)
        h = self._through(self.middle_block, h, time, z_sem)
        for entry in self.output_blocks:
            h = self._through(entry, torch.cat([h, skips.pop()], 1), time, z_sem)
        return self.out(h)

    def encode(self, x: Tensor, x0: Tensor | None = None) -> Tensor:
        """z_sem (B, d) of pictures x."""
        return self.encoder(x)

    def _noise(self, x_t: Tensor, t: int | Tensor, z_sem: Tensor) -> Tensor:
        times = t if isinstance(t, Tensor) else torch.full((len(x_t),), t, device=x_t.device)
        # The released networks were run in float16 on a GPU, in float32 elsewhere.
        kind = self.precision or (torch.float16 if x_t.device.type == "cuda" else None)
        with half_precision(x_t.device, kind):
            return self(x_t, times, z_sem).to(x_t.dtype)

    def predict(
        self, x_t: Tensor, t: int | Tensor, z_sem: Tensor, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(x_0 estimate clamped to [-1, 1], the eps consistent with it) at time t."""
        assert label is None, "the published networks are not conditioned on labels"
        return clamped(x_t, self._noise(x_t, t, z_sem), t)

    def eps(
        self, x_t: Tensor, t: int | Tensor, z_sem: Tensor, label: Tensor | None = None
    ) -> Tensor:
        """eps_psi of equation 7, as the network gives it."""
        assert label is None, "the published networks are not conditioned on labels"
        return self._noise(x_t, t, z_sem)

    def _invert_fully(self, predictor: Predictor, x: Tensor, steps: int) -> Tensor:
        return sampling.invert_respaced(predictor, x, steps)

    def _decode_fully(
        self, predictor: Predictor, x_T: Tensor, steps: int, callback: StepCallback | None
    ) -> Tensor:
        return sampling.decode_respaced(predictor, x_T, steps, callback)
