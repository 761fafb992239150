"""The diffusion autoencoder as one object: encode, predict, invert, decode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from diffinf_core.diffusion import sampling
from diffinf_core.diffusion.network import ConditionalUNet, SemanticEncoder
from diffinf_core.diffusion.sampling import Predictor, StepCallback, eps_for, from_v

DEFAULT_T0 = 999


class Attribute(BaseModel):
    """A labelled property that the generator can be conditioned on, e.g. expression: happy, neutral, ..."""

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
    attributes: tuple[Attribute, ...] = Field(
        (), description="attributes that the generator is conditioned on"
    )
    label_alone: bool = Field(
        False,
        description="trained with conditioning dropout of z_sem: the label has an effect without the code",
    )

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


class Shape(Protocol):
    """What every architecture declares."""

    @property
    def image_size(self) -> int: ...

    @property
    def attributes(self) -> tuple[Attribute, ...]: ...


def half_precision(where: torch.device, kind: torch.dtype | None) -> torch.autocast:
    """Autocast to a half type; nothing for None and float32."""
    half = kind in (torch.float16, torch.bfloat16)
    return torch.autocast(where.type, kind if half else None, enabled=half)


class Autoencoder(nn.Module, ABC):
    """A generator. Pictures are (B, 3, S, S) in [-1, 1]; labels long (B, attributes),
    -1 for unknown, or None; z_sem is (B, d).

    A subclass defines encoding and prediction and, where the default does not fit, full inversion and
    decoding (t0 None).
    """

    architecture: Shape
    #: type that the UNet computes in, None for its default; z_sem and DDIM stay float32
    precision: torch.dtype | None = None
    #: where the weights come from, None for a generator that was made in memory
    file: Path | None = None

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """z_sem (B, d) of pictures x."""

    @abstractmethod
    def predict(
        self, x_t: Tensor, t: int | Tensor, z_sem: Tensor, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(x_0 estimate, the eps consistent with it) at time t."""

    def eps(
        self, x_t: Tensor, t: int | Tensor, z_sem: Tensor, label: Tensor | None = None
    ) -> Tensor:
        """eps_psi of equation 7, as the network gives it."""
        return self.predict(x_t, t, z_sem, label)[1]

    def invert(
        self,
        x: Tensor,
        z_sem: Tensor,
        steps: int,
        t0: int | None = None,
        label: Tensor | None = None,
    ) -> Tensor:
        """The stochastic code x_T (B, 3, S, S) at time t0; with None, full inversion to noise."""
        predictor = self._predictor(z_sem, label, 1.0)
        if t0 is None:
            return self._invert_fully(predictor, x, steps)
        return sampling.invert(predictor, x, steps, t0)

    def decode(
        self,
        x_T: Tensor,
        z_sem: Tensor,
        steps: int,
        t0: int | None = None,
        label: Tensor | None = None,
        guidance: float = 1.0,
        callback: StepCallback | None = None,
        gradient_checkpointing: bool = False,
    ) -> Tensor:
        """A picture from its codes.

        With ``guidance`` other than 1, classifier-free guidance between the conditional and the
        unconditional x_0 estimate, both from one doubled batch. ``gradient_checkpointing`` recomputes
        activations in the backward pass instead of keeping those of every step.
        """
        predictor = self._predictor(z_sem, label, guidance)
        if gradient_checkpointing:
            predictor = sampling.with_gradient_checkpointing(predictor)
        if t0 is None:
            return self._decode_fully(predictor, x_T, steps, callback)
        return sampling.decode(predictor, x_T, steps, t0, callback)

    def _predictor(self, z_sem: Tensor, label: Tensor | None, guidance: float) -> Predictor:
        def plain(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
            return self.predict(x_t, t, z_sem, label)

        def guided(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
            assert label is not None
            return self.guide(x_t, t, z_sem, label, torch.full_like(label, -1), guidance)

        return plain if label is None or not self.needs_guiding(guidance) else guided

    def needs_guiding(self, guidance: float) -> bool:
        """Whether a conditional prediction goes through :meth:`guide`."""
        return guidance != 1.0

    def guide(
        self, x_t: Tensor, t: int, z_sem: Tensor, label: Tensor, negative: Tensor, guidance: float
    ) -> tuple[Tensor, Tensor]:
        """(x_0 estimate, eps) by classifier-free guidance, from one doubled batch.

        x_0 = x_0(negative) + guidance (x_0(label) - x_0(negative)). ``negative`` (B, attributes) is the
        negative condition; -1 throughout is the unconditional prediction.
        """
        both = torch.cat([label, negative])
        x0, _ = self.predict(x_t.repeat(2, 1, 1, 1), t, z_sem.repeat(2, 1), both)
        positive, base = x0.chunk(2)
        x0 = base + guidance * (positive - base)
        return x0, eps_for(x_t, x0, t)

    def _invert_fully(self, predictor: Predictor, x: Tensor, steps: int) -> Tensor:
        return sampling.invert(predictor, x, steps, DEFAULT_T0)

    def _decode_fully(
        self, predictor: Predictor, x_T: Tensor, steps: int, callback: StepCallback | None
    ) -> Tensor:
        return sampling.decode(predictor, x_T, steps, DEFAULT_T0, callback)


class DiffusionAutoencoder(Autoencoder):
    """The small diffusion autoencoder; it predicts v and can be conditioned on labels."""

    architecture: Architecture

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.architecture = a
        self.encoder = SemanticEncoder(a.image_size, a.z_dim, a.encoder_width, a.patch)
        classes = tuple(len(attribute.classes) for attribute in a.attributes)
        self.unet = ConditionalUNet(a.image_size, a.z_dim, a.widths, a.embed, classes, a.patch)

    def encode(self, x: Tensor) -> Tensor:
        """z_sem (B, z_dim), each row with mean 0 and variance 1."""
        return self.encoder(x)

    def needs_guiding(self, guidance: float) -> bool:
        """Always, where the network was trained with conditioning dropout of z_sem."""
        return self.architecture.label_alone or super().needs_guiding(guidance)

    def guide(
        self, x_t: Tensor, t: int, z_sem: Tensor, label: Tensor, negative: Tensor, guidance: float
    ) -> tuple[Tensor, Tensor]:
        """Classifier-free guidance; after conditioning dropout of z_sem, its direction is taken without z.

        In a network trained on single pictures z_sem holds everything that the label could add, so
        given z the label has next to no effect. Without z it has all of it, hence
        x_0 = x_0(z, negative) + guidance (x_0(0, label) - x_0(0, negative)).
        """
        if not self.architecture.label_alone:
            return super().guide(x_t, t, z_sem, label, negative, guidance)
        dropped = torch.zeros_like(z_sem)
        x0, _ = self.predict(
            x_t.repeat(3, 1, 1, 1),
            t,
            torch.cat([z_sem, dropped, dropped]),
            torch.cat([negative, label, negative]),
        )
        plain, positive, base = x0.chunk(3)
        x0 = plain + guidance * (positive - base)
        return x0, eps_for(x_t, x0, t)

    def predict(
        self, x_t: Tensor, t: int | Tensor, z_sem: Tensor, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(x_0 estimate, eps) by the exact conversion from v."""
        times = t if isinstance(t, Tensor) else torch.full((len(x_t),), t, device=x_t.device)
        with half_precision(x_t.device, self.precision):
            v = self.unet(x_t, times, z_sem, label)
        return from_v(x_t, v.to(x_t.dtype), t)
