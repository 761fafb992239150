"""A first stage trained on the run's own pictures: a small autoencoder, within minutes.

It stands in where no published first stage is at hand. Mean absolute difference and LPIPS measure the
reconstruction; noise on the latents, and a penalty on their size, make room for what a generator gets
slightly wrong, as the KL term of a latent diffusion model's first stage does (Rombach et al. 2022, section
3.1).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.classifier.training import device
from diffinf_core.data.part import to_tensor
from diffinf_core.diffusion.autoencoder import half_precision
from diffinf_core.diffusion.first_stage import BESIDE, FirstStage, build
from diffinf_core.diffusion.rate import RateSchedule
from diffinf_core.diffusion.small import FACTOR, SmallDecoder, SmallEncoder, start_from_components
from diffinf_core.diffusion.sources import PictureSource, read_ahead
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.divergence import check_loss
from diffinf_core.runs.files import read_tensors, write_tensors
from diffinf_core.weights.files import card_of, load_weights, save_weights, shipped
from diffinf_core.weights.lpips import LEAST_SIDE, LpipsAlex, perceptual_distance

#: what "--first-stage" calls it
OWN = "own"
CHECKPOINT = "first_stage.ckpt"
_FAMILY = "small"
_CHANNELS, _BATCH = 16, 16
#: weight of LPIPS beside the mean absolute difference, of the latents' mean square, and the noise on latents
_LPIPS, _SIZE, _NOISE = 0.5, 1e-3, 0.05
_RATE, _DECAY_FRACTION, _EMA, _CLIP = 1e-3, 0.5, 0.995, 1.0
#: pictures of the figures on held-out pictures, and steps that a kill can cost
_MEASURED, _CHECKPOINT_EVERY, _CHECKPOINT_SECONDS = 64, 100, 60
#: pictures whose principal components the training begins with
_COMPONENTS_OF = 1024


class FirstStageTraining(BaseModel):
    """How to train a first stage."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    minutes: float | None = Field(10.0, gt=0, description="time budget, in place of steps")
    steps: int = Field(4000, ge=1, description="steps of 16 pictures where there is no time budget")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="type of the networks")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of weights, batches and noise")


def own_first_stage() -> FirstStage:
    """The networks, with random weights."""
    return build({"family": _FAMILY, "name": OWN, "channels": _CHANNELS, "factor": FACTOR})


def is_own(file: Path) -> bool:
    """Whether a first stage was made by :func:`train_first_stage`."""
    about = card_of(file).get("first_stage")
    return isinstance(about, dict) and about.get("family") == _FAMILY


def train_first_stage(
    source: PictureSource, out: Path, settings: FirstStageTraining, pictures: str
) -> Iterator[Progress]:
    """Train on the pictures of ``source``, and write first_stage.safetensors with its card to ``out``.

    Does nothing where that is there; one of another budget or seed is refused. Killed at any moment it goes
    on from ``out``/first_stage.ckpt; on a CPU what comes out is bit-identical. ``pictures`` names the
    pictures: those of another name are refused, by :class:`DiffInfError`, as is a loss that is not finite
    any more.
    """
    if (out / BESIDE).exists() and not (out / CHECKPOINT).exists():
        _refuse_another(out / BESIDE, settings, pictures)
        return
    side = source.held_out().shape[-1]
    if side % FACTOR:
        raise DiffInfError(
            f"A first stage cannot be trained on pictures of {side} pixels: the side must be divisible by "
            f"{FACTOR}."
        )
    out.mkdir(parents=True, exist_ok=True)
    trainer = _Trainer(source, out / CHECKPOINT, settings, pictures, side)
    schedule, saved = trainer.schedule, trainer.seconds
    steps = count(trainer.done) if schedule.timed else range(trainer.done, schedule.total)
    batches = read_ahead(source, settings.seed, steps, 0, 1, _BATCH, 2)
    with closing(batches):
        for step, (part,) in enumerate(batches, trainer.done):
            if step >= schedule.total:
                break
            loss = trainer.take_step(step, part.batch.target, part.seed)
            begins = schedule.record_time(trainer.seconds, trainer.done)
            due = (
                trainer.done % _CHECKPOINT_EVERY == 0
                or trainer.seconds - saved > _CHECKPOINT_SECONDS
            )
            if begins or due or trainer.done == schedule.total:
                trainer.save()
                saved = trainer.seconds
            yield Progress(
                "first-stage",
                trainer.done,
                schedule.estimated_total(trainer.seconds, trainer.done),
                "; ".join(filter(None, (_NOTE, schedule.time_left(trainer.seconds)))),
                values={"loss": loss},
            )
    stage = trainer.averaged()
    card = {
        "network": "FirstStage",
        "first_stage": dict(stage.about),
        "training": settings.model_dump(mode="json"),
        "pictures": pictures,
        "steps_made": trainer.done,
        "seconds": round(trainer.seconds),
        "figures": first_stage_figures(stage, source.held_out()[:_MEASURED]),
    }
    save_weights(out / BESIDE, stage, card)
    (out / CHECKPOINT).unlink()


def _refuse_another(file: Path, settings: FirstStageTraining, pictures: str) -> None:
    """The precision depends on the machine, and may differ."""
    card, asked = card_of(file), settings.model_dump(mode="json", exclude={"precision"})
    if card.get("pictures") != pictures:
        raise DiffInfError(
            f"{file} was trained on another data set, split or noise; remove it to train another."
        )
    made = card.get("training", {})
    if differing := [name for name, value in asked.items() if made.get(name) != value]:
        name = differing[0]
        raise DiffInfError(
            f"{file} was trained with {name} {made.get(name)}, not {asked[name]}; remove it to train another."
        )


_NOTE = "training a first stage on these pictures"


@torch.no_grad()
def first_stage_figures(stage: FirstStage, x: Tensor) -> dict[str, float]:
    """How well a first stage reconstructs x (B, 3, S, S) in [-1, 1]: PSNR in dB; LPIPS from 64 pixels."""
    where = next(stage.parameters()).device
    x = x.to(where)
    back = torch.cat([stage.decode(stage.encode(part)).float() for part in x.split(_BATCH)])
    error = ((back - x) / 2).square().mean((1, 2, 3)).clamp_min(1e-10)
    figures = {"psnr": round(float((-10 * error.log10()).mean()), 2)}
    if x.shape[-1] >= LEAST_SIDE:
        lpips = load_weights(shipped("lpips"), LpipsAlex()).to(where)
        pairs = zip(x.split(_BATCH), back.split(_BATCH), strict=True)
        apart = torch.cat([perceptual_distance(lpips(a), lpips(b)) for a, b in pairs])
        figures["lpips"] = round(float(apart.mean()), 4)
    return {"held_out": len(x), **figures}


def begin_with_components(stage: FirstStage, source: PictureSource, seed: int) -> None:
    """Set an :func:`own_first_stage` to the principal components of random pictures of a source."""
    encoder, decoder = stage.encoder, stage.decoder
    assert isinstance(encoder, SmallEncoder) and isinstance(decoder, SmallDecoder)
    rng = np.random.default_rng((seed, 1))
    batches = (source.batch(rng, _BATCH) for _ in range(math.ceil(_COMPONENTS_OF / _BATCH)))
    pictures = ((to_tensor(np.asarray(batch.target)) + 1) / 2 for batch in batches)
    start_from_components(encoder, decoder, pictures)


class _Trainer:
    """Networks, their average, optimiser and schedule of one training: restored, stepped, saved."""

    def __init__(
        self,
        source: PictureSource,
        checkpoint: Path,
        settings: FirstStageTraining,
        pictures: str,
        side: int,
    ) -> None:
        self._checkpoint, self._settings = checkpoint, settings
        self._device = device()
        torch.manual_seed(settings.seed)
        stage = own_first_stage()
        if not checkpoint.exists():
            begin_with_components(stage, source, settings.seed)
        stage = stage.to(self._device).to(memory_format=torch.channels_last)
        self._average = copy.deepcopy(stage)
        self._stage = stage.requires_grad_(True).train()
        self._optimiser = torch.optim.AdamW(stage.parameters(), _RATE, weight_decay=1e-2)
        self.schedule = RateSchedule(settings.steps, _DECAY_FRACTION, settings.minutes)
        self._lpips: LpipsAlex | None = None
        if side >= LEAST_SIDE:
            lpips = LpipsAlex()
            load_weights(shipped("lpips"), lpips)
            self._lpips = lpips.to(self._device)
        self._provenance = {
            "about": dict(stage.about),
            "settings": settings.model_dump(mode="json"),
            "pictures": pictures,
        }
        self.done, self._before = 0, 0.0
        self._restore()
        self._began = time.perf_counter()

    def _restore(self) -> None:
        if not self._checkpoint.exists():
            return
        state = read_tensors(self._checkpoint)
        if state["provenance"] != self._provenance:
            raise DiffInfError(
                f"{self._checkpoint} was written with other settings or for other pictures; remove it, or "
                "train with the same ones."
            )
        self._stage.load_state_dict(state["stage"])
        self._average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.schedule.load(state)
        self.done, self._before = state["step"], float(state["seconds"])

    @property
    def seconds(self) -> float:
        """Time spent, that before a kill included."""
        return self._before + time.perf_counter() - self._began

    def take_step(self, step: int, images: Any, seed: int) -> float:
        """One optimiser step on pictures (B, S, S, 3) uint8; the loss."""
        for group in self._optimiser.param_groups:
            group["lr"] = _RATE * self.schedule.factor(step)
        x = to_tensor(images).to(self._device)
        noise = torch.Generator(self._device).manual_seed(seed)
        kind = torch.bfloat16 if self._settings.precision == "bfloat16" else None
        with half_precision(self._device, kind):
            z = self._stage.encode(x)
            z = z + _NOISE * torch.randn(z.shape, generator=noise, device=self._device)
            back = (self._stage.decoder(z) * 2 - 1).float()
            loss = F.l1_loss(back, x) + _SIZE * z.square().mean()
            if self._lpips is not None:
                with torch.no_grad():
                    wanted = self._lpips(x)
                loss = loss + _LPIPS * perceptual_distance(self._lpips(back), wanted).mean()
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        value = float(loss.detach())
        check_loss(
            value,
            "The first stage's training",
            f"step {step}",
            "use another seed, or a published first stage",
        )
        torch.nn.utils.clip_grad_norm_(self._stage.parameters(), _CLIP)
        self._optimiser.step()
        decay = min(_EMA, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self._average.parameters()), list(self._stage.parameters()), 1 - decay
            )
        self.done = step + 1
        return value

    def averaged(self) -> FirstStage:
        """The averaged networks, frozen."""
        return self._average.requires_grad_(False).eval()

    def save(self) -> None:
        """Write everything that a bit-identical resume needs."""
        state = {
            "provenance": self._provenance,
            "stage": self._stage.state_dict(),
            "average": self._average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "step": self.done,
            "seconds": self.seconds,
            **self.schedule.state(),
        }
        write_tensors(self._checkpoint, state)
