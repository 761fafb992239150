"""The diffusion autoencoder as one object: encode, predict, invert, decode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from diffinf_core.diffusion import sampling
from diffinf_core.diffusion.architecture import Architecture, Attribute
from diffinf_core.diffusion.first_stage import FirstStage
from diffinf_core.diffusion.network import ConditionalUNet, SemanticEncoder
from diffinf_core.diffusion.sampling import Guidance, Predictor, StepCallback, eps_for, from_v
from diffinf_core.records import DiffInfError

#: in no stage's key: raise METHOD of the repair with it.
#: on latents, where an adversary keeps the label out of z_sem: a mixture turned as many labels of photographs
#: as the direction without the code, and kept the person more often
ON_LATENTS_WITHOUT_CODE = 0.7

DEFAULT_T0 = 999


class Shape(Protocol):
    """What every architecture declares."""

    @property
    def image_size(self) -> int: ...

    @property
    def z_dim(self) -> int: ...

    @property
    def attributes(self) -> tuple[Attribute, ...]: ...


def half_precision(where: torch.device, kind: torch.dtype | None) -> torch.autocast:
    """Autocast to a half type; nothing for None and float32."""
    half = kind in (torch.float16, torch.bfloat16)
    return torch.autocast(where.type, kind if half else None, enabled=half)


class Autoencoder(nn.Module, ABC):
    """A generator. Pictures are (B, 3, S, S) in [-1, 1]; labels long (B, attributes),
    -1 for unknown, or None; z_sem is (B, d), with what else a code holds of the picture after it.

    Diffusion runs on x_0 = latent(x), and x = pixels(x_0): the same for a generator on pixels, normalised
    latents (B, channels, side, side) of a first stage for another. A subclass defines encoding and
    prediction and, where the default does not fit, full inversion and decoding (t0 None).
    """

    architecture: Shape
    #: type that the UNet computes in, None for its default; z_sem and DDIM stay float32
    precision: torch.dtype | None = None
    #: where the weights come from, None for a generator that was made in memory
    file: Path | None = None

    @property
    def on_pixels(self) -> bool:
        """Whether x_0 is the picture itself."""
        return True

    @property
    def grey(self) -> bool:
        """Whether it sees and draws the lightness of pictures alone."""
        return False

    def latent(self, x: Tensor) -> Tensor:
        """x_0 of pictures x."""
        return x

    def pixels(self, x0: Tensor) -> Tensor:
        """Pictures of x_0, differentiable."""
        return x0

    @abstractmethod
    def encode(self, x: Tensor, x0: Tensor | None = None) -> Tensor:
        """z_sem (B, d) of pictures x; ``x0`` is latent(x), where that is known."""

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
        """The stochastic code x_T of x_0 = ``x`` at time t0; with None, full inversion to noise."""
        predictor = self.predictor(z_sem, label, 1.0)
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
        """x_0 from its codes.

        With ``guidance`` other than 1, classifier-free guidance between the conditional and the
        unconditional x_0 estimate, both from one doubled batch. ``gradient_checkpointing`` recomputes
        activations in the backward pass instead of keeping those of every step.
        """
        predictor = self.predictor(z_sem, label, guidance)
        if gradient_checkpointing:
            predictor = sampling.with_gradient_checkpointing(predictor)
        if t0 is None:
            return self._decode_fully(predictor, x_T, steps, callback)
        return sampling.decode(predictor, x_T, steps, t0, callback)

    def predictor(
        self,
        z_sem: Tensor,
        label: Tensor | None,
        guidance: float,
        negative: Tensor | None = None,
    ) -> Predictor:
        """What DDIM runs on: predictions under a label, guided away from ``negative`` (default: no label)."""

        def plain(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
            return self.predict(x_t, t, z_sem, label)

        def guided(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
            assert label is not None
            base = torch.full_like(label, -1) if negative is None else negative
            return self.guide(x_t, t, z_sem, label, base, scales)

        scales = Guidance(guidance)
        return plain if label is None or not self.needs_guiding(scales) else guided

    @property
    def usual_without_code(self) -> float:
        """The fraction of the guidance's direction that is predicted without z_sem by default."""
        return 0.0

    def needs_guiding(self, guidance: Guidance) -> bool:
        """Whether a conditional prediction goes through :meth:`guide`."""
        return guidance.scale != 1.0

    def guide(
        self,
        x_t: Tensor,
        t: int,
        z_sem: Tensor,
        label: Tensor,
        negative: Tensor,
        guidance: Guidance,
    ) -> tuple[Tensor, Tensor]:
        """(x_0 estimate, eps) by classifier-free guidance, from one doubled batch.

        x_0 = x_0(negative) + scale (x_0(label) - x_0(negative)). ``negative`` (B, attributes) is the
        negative condition; -1 throughout is the unconditional prediction. All else in ``guidance`` is 0 or
        None here.
        """
        assert not guidance.without_code and not guidance.covariates
        both = torch.cat([label, negative])
        x0, _ = self.predict(x_t.repeat(2, 1, 1, 1), t, z_sem.repeat(2, 1), both)
        positive, base = x0.chunk(2)
        x0 = base + guidance.scale * (positive - base)
        return x0, eps_for(x_t, x0, t)

    def _invert_fully(self, predictor: Predictor, x: Tensor, steps: int) -> Tensor:
        return sampling.invert(predictor, x, steps, DEFAULT_T0)

    def _decode_fully(
        self, predictor: Predictor, x_T: Tensor, steps: int, callback: StepCallback | None
    ) -> Tensor:
        return sampling.decode(predictor, x_T, steps, DEFAULT_T0, callback)


class DiffusionAutoencoder(Autoencoder):
    """The small diffusion autoencoder; it predicts v and can be conditioned on labels.

    Where its architecture names latents it needs the ``first_stage`` that they come from to encode pictures;
    training, which reads latents, does without.
    """

    architecture: Architecture

    def __init__(self, architecture: Architecture, first_stage: FirstStage | None = None) -> None:
        super().__init__()
        a = architecture
        self.architecture = a
        self.encoder = SemanticEncoder(a.side, a.z_dim, a.encoder_width, a.patch, a.channels)
        classes = tuple(len(attribute.classes) for attribute in a.attributes)
        self.unet = ConditionalUNet(
            a.side, a.code_dim, a.widths, a.embed, classes, a.patch, a.channels, a.inpaints
        )
        if a.inpaints and a.attributes:
            # where each class of the first attribute shows, with mean 1; measured after the training
            self.regions: Tensor
            self.register_buffer("regions", torch.ones(classes[0], a.side, a.side))
        # a list hides it from the state dict: its weights lie in a file of their own
        self._first_stage: list[FirstStage] = []
        if first_stage is not None:
            self.attach(first_stage)

    def attach(self, first_stage: FirstStage) -> None:
        """Take a first stage; :class:`DiffInfError` where it is another than that of the training."""
        space = self.architecture.latent
        if space is None or space.first_stage != first_stage.sha256:
            raise DiffInfError(
                f"The generator was trained on {f'latents of {space.name}' if space else 'pixels'}, and this "
                f"first stage is another file ({first_stage.name}, SHA-256 {first_stage.sha256[:12]}...)."
            )
        self._first_stage = [first_stage.to(next(self.parameters()).device)]

    @property
    def on_pixels(self) -> bool:
        """Whether x_0 is the picture itself."""
        return self.architecture.latent is None

    @property
    def first_stage(self) -> FirstStage:
        """The attached first stage; :class:`DiffInfError` without one."""
        if not self._first_stage:
            raise DiffInfError("This generator works on latents and has no first stage attached.")
        return self._first_stage[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DiffusionAutoencoder:
        super()._apply(fn, recurse)
        for stage in self._first_stage:
            stage._apply(fn)
        return self

    def normalise(self, latents: Tensor) -> Tensor:
        """x_0 of a first stage's latents: each channel with mean 0 and deviation 1 over the training set."""
        mean, deviation = self._scale(latents)
        return (latents - mean) / deviation

    def _scale(self, like: Tensor) -> tuple[Tensor, Tensor]:
        space = self.architecture.latent
        assert space is not None
        mean, deviation = (
            torch.tensor(values, device=like.device, dtype=like.dtype)[:, None, None]
            for values in (space.mean, space.deviation)
        )
        return mean, deviation

    @property
    def grey(self) -> bool:
        return self.architecture.grey

    def latent(self, x: Tensor) -> Tensor:
        """x_0 of pictures: themselves, or their normalised latents."""
        if self.grey:
            x = grey(x)
        if self.on_pixels:
            return x
        with half_precision(x.device, self.precision):
            latents = self.first_stage.encode(x)
        return self.normalise(latents.float())

    def pixels(self, x0: Tensor) -> Tensor:
        """Pictures of x_0: itself, or what the first stage decodes."""
        if self.on_pixels:
            return x0
        mean, deviation = self._scale(x0)
        with half_precision(x0.device, self.precision):
            pictures = self.first_stage.decode(x0 * deviation + mean).float()
        return grey(pictures) if self.grey else pictures

    def encode(self, x: Tensor, x0: Tensor | None = None) -> Tensor:
        """z_sem (B, z_dim), each row with mean 0 and variance 1; then the coarse colour, if it is used."""
        if self.grey:
            x = grey(x)
        z = self.encoder(self.latent(x) if x0 is None else x0)
        return torch.cat([z, coarse_colour(x)], 1) if self.architecture.colour else z

    @property
    def usual_without_code(self) -> float:
        """All on pixels and most on latents after conditioning dropout of z_sem, else nothing."""
        if not self.architecture.label_alone:
            return 0.0
        return 1.0 if self.on_pixels else ON_LATENTS_WITHOUT_CODE

    def needs_guiding(self, guidance: Guidance) -> bool:
        """Also where a part of the direction is predicted without z_sem, by default on pixels alone, where
        the label says nothing beside the code; or where covariates have a direction of their own."""
        w = guidance.without_code
        without_code = self.usual_without_code == 1 if w is None else w > 0
        return super().needs_guiding(guidance) or without_code or guidance.covariates > 0

    def guide(
        self, x_t: Tensor, t: int, z_sem: Tensor, label: Tensor, negative: Tensor, guidance: Guidance,
        surroundings: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Classifier-free guidance whose direction is predicted without z_sem by the fraction w =
        ``guidance.without_code``:

        x_0 = x_0(z, negative) + scale ((1 - w) (x_0(z, label) - x_0(z, negative))
        + w (x_0(0, label) - x_0(0, negative))).

        Given a code that holds everything that the label could add, or that a long training has memorised
        the picture by, the label changes next to nothing. Without a code it has all of its effect; with it,
        its effect fits the picture better. ``guidance.covariates`` times x_0(0, covariates) - x_0(0, nothing)
        is added, for what goes with a label in the data goes with its direction, too. ``surroundings`` as the
        UNet takes them.
        """
        w, covariates = guidance.without_code, guidance.covariates
        w = self.usual_without_code if w is None else w
        dropped = self.dropped(z_sem)
        conditions = [(z_sem, negative)]
        if w < 1:
            conditions.append((z_sem, label))
        if w > 0:
            conditions += [(dropped, label), (dropped, negative)]
        if covariates:
            unknown = torch.full_like(negative, -1)
            fixed = [a.covariate for a in self.architecture.attributes]
            kept = torch.where(torch.tensor(fixed, device=negative.device), negative, unknown)
            conditions += [(dropped, kept), (dropped, unknown)]
        n = len(conditions)
        codes, labels = (torch.cat(parts) for parts in zip(*conditions, strict=True))
        around = None if surroundings is None else surroundings.repeat(n, 1, 1, 1)
        x0, _ = self.predict(x_t.repeat(n, 1, 1, 1), t, codes, labels, around)
        plain, *others = x0.chunk(n)
        direction = torch.zeros_like(plain)
        if w < 1:
            direction = (1 - w) * (others.pop(0) - plain)
        if w > 0:
            direction = direction + w * (others.pop(0) - others.pop(0))
        x0 = plain + guidance.scale * direction
        if covariates:
            x0 = x0 + covariates * (others[0] - others[1])
        return x0, eps_for(x_t, x0, t)

    def dropped(self, z_sem: Tensor) -> Tensor:
        """Codes whose z_sem is dropped; the colour stays."""
        dropped = torch.zeros_like(z_sem)
        if self.architecture.colour:
            dropped[:, self.architecture.z_dim :] = z_sem[:, self.architecture.z_dim :]
        return dropped

    def predict(
        self,
        x_t: Tensor,
        t: int | Tensor,
        z_sem: Tensor,
        label: Tensor | None = None,
        surroundings: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(x_0 estimate, eps) by the exact conversion from v; ``surroundings`` as the UNet takes them."""
        times = t if isinstance(t, Tensor) else torch.full((len(x_t),), t, device=x_t.device)
        with half_precision(x_t.device, self.precision):
            v = self.unet(x_t, times, z_sem, label, surroundings)
        return from_v(x_t, v.to(x_t.dtype), t)


def grey(x: Tensor) -> Tensor:
    """Pictures (B, 3, S, S) without their colours: the luma of Rec. 601 in each channel."""
    weights = x.new_tensor((0.299, 0.587, 0.114))[:, None, None]
    return (x * weights).sum(1, keepdim=True).expand_as(x)


def coarse_colour(x: Tensor) -> Tensor:
    """Mean colour (B, 3) of the middle half of pictures (B, 3, S, S): skin and light, and no more.

    A thumbnail of 4 x 4 would tell an age by itself, and weaken what a label can do.
    """
    n = x.shape[-1] // 4
    return x[..., n : 3 * n, n : 3 * n].mean((2, 3))
