"""The diffusion autoencoder as one object: encode, predict, invert, decode."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from diffinf_core.diffusion import sampling
from diffinf_core.diffusion.network import ConditionalUNet, SemanticEncoder
from diffinf_core.diffusion.sampling import StepCallback, eps_for, from_v

DEFAULT_T0 = 999


class Attribute(BaseModel):
    """A labelled property the generator can be asked for, e.g. expression: happy, neutral, ..."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    classes: tuple[str, ...] = Field(min_length=2)


class Architecture(BaseModel):
    """Shape of a small diffusion autoencoder; stored beside its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: int = Field(64, ge=16, le=256, description="side of the square picture in pixels")
    z_dim: int = Field(128, ge=8, description="length of z_sem")
    patch: int = Field(2, ge=1, description="pixel-unshuffle factor in front of both networks")
    widths: tuple[int, ...] = Field((32, 96, 128, 144), description="UNet channels per level")
    embed: int = Field(192, ge=8, description="length of the time and code embeddings")
    encoder_width: int = Field(32, ge=8, description="channels of the encoder's first level")
    attributes: tuple[Attribute, ...] = Field((), description="labels the generator is told")

    @model_validator(mode="after")
    def _fits(self) -> Architecture:
        if len(self.widths) < 2 or any(w % 8 for w in (*self.widths, self.encoder_width)):
            raise ValueError("widths must be at least two multiples of 8.")
        if self.image_size % (self.patch * 2 ** (len(self.widths) - 1)):
            raise ValueError(
                f"image_size {self.image_size} must be divisible by patch x 2^(levels - 1) "
                f"= {self.patch * 2 ** (len(self.widths) - 1)}."
            )
        return self


class DiffusionAutoencoder(nn.Module):
    """Pictures are (B, 3, S, S) in [-1, 1]; labels long (B, attributes), -1 for unknown."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.architecture = a
        self.encoder = SemanticEncoder(a.image_size, a.z_dim, a.encoder_width, a.patch)
        classes = tuple(len(attribute.classes) for attribute in a.attributes)
        self.unet = ConditionalUNet(a.image_size, a.z_dim, a.widths, a.embed, classes, a.patch)

    def encode(self, x: Tensor) -> Tensor:
        """z_sem (B, z_dim) of pictures x."""
        return self.encoder(x)

    def predict(
        self, x_t: Tensor, t: int | Tensor, z_sem: Tensor, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(x_0 estimate, eps) at time t."""
        times = t if isinstance(t, Tensor) else torch.full((len(x_t),), t, device=x_t.device)
        return from_v(x_t, self.unet(x_t, times, z_sem, label).to(x_t.dtype), t)

    def eps(
        self, x_t: Tensor, t: int | Tensor, z_sem: Tensor, label: Tensor | None = None
    ) -> Tensor:
        """eps_psi of equation 7."""
        return self.predict(x_t, t, z_sem, label)[1]

    def invert(
        self,
        x: Tensor,
        z_sem: Tensor,
        steps: int,
        t0: int | None = None,
        label: Tensor | None = None,
    ) -> Tensor:
        """The stochastic code x_T (B, 3, S, S) at time t0."""

        def predict(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
            return self.predict(x_t, t, z_sem, label)

        return sampling.invert(predict, x, steps, DEFAULT_T0 if t0 is None else t0)

    def decode(
        self,
        x_T: Tensor,
        z_sem: Tensor,
        steps: int,
        t0: int | None = None,
        label: Tensor | None = None,
        guidance: float = 1.0,
        callback: StepCallback | None = None,
    ) -> Tensor:
        """A picture from its codes.

        With ``guidance`` other than 1 the x_0 estimate is pushed away from the estimate without a
        label (classifier-free guidance); both come from one doubled batch.
        """
        guided = guidance != 1.0 and label is not None

        def predict(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
            if not guided:
                return self.predict(x_t, t, z_sem, label)
            assert label is not None
            both = torch.cat([label, torch.full_like(label, -1)])
            x0, _ = self.predict(x_t.repeat(2, 1, 1, 1), t, z_sem.repeat(2, 1), both)
            told, untold = x0.chunk(2)
            x0 = untold + guidance * (told - untold)
            return x0, eps_for(x_t, x0, t)

        return sampling.decode(predict, x_T, steps, DEFAULT_T0 if t0 is None else t0, callback)
