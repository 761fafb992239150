"""Training of a diffusion autoencoder, as a generator of progress events that can be resumed.

Two phases: the encoder first learns, with a plain decoder, to say what is in a picture; then encoder
and UNet learn to denoise together (v-prediction). The published model skips the first phase; at this
size it saves about half of the time.

Where the data has pairs (the same person with another label), half of each batch encodes one and
asks for the other by its label, the rest reconstructs with the label unknown. That is what makes
guidance mean "change the label and nothing else". Without pairs, z_sem is blanked for a share of the
batch, so that the label is worth listening to.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.data import faces
from diffinf_core.data.scenes import Scenes
from diffinf_core.data.training import to_tensor
from diffinf_core.diffusion.autoencoder import Architecture, DiffusionAutoencoder
from diffinf_core.diffusion.network import WarmupDecoder
from diffinf_core.diffusion.schedule import TIMES, abar
from diffinf_core.records import DiffInfError, Progress

_CHECKPOINT_EVERY = 500


class GeneratorTraining(BaseModel):
    """How to train a generator."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    warmup_steps: int = Field(1800, ge=0, description="steps of the encoder-only phase")
    steps: int = Field(4000, ge=1, description="steps of the diffusion phase")
    batch_size: int = Field(24, ge=2, description="pictures per step")
    learning_rate: float = Field(1e-3, gt=0, description="AdamW peak rate, both phases")
    decay_share: float = Field(
        0.35, gt=0, le=1, description="last share of steps with falling rate"
    )
    z_noise: float = Field(0.1, ge=0, description="noise added to z_sem while training")
    z_blank: float = Field(0.3, ge=0, le=1, description="share of blanked codes for unpaired data")
    warmup_weight: float = Field(0.5, ge=0, description="weight of the plain decoder in phase two")
    low_time: int = Field(700, ge=1, le=TIMES, description="times below this get most of the steps")
    low_time_share: float = Field(0.85, ge=0, le=1, description="share of the steps below low_time")
    ema: float = Field(0.998, ge=0, lt=1, description="decay of the averaged weights")
    clip: float = Field(1.0, gt=0, description="gradient norm above which a step is scaled down")
    seed: int = Field(0, description="seed of weights, batches and noise")


@dataclass(frozen=True)
class Batch:
    """``target`` and ``source`` (B, 3, S, S) in [-1, 1]: encode the source, produce the target.

    ``label`` (B, attributes) long with -1 for unknown; ``weight`` (B, 1, S, S) of the loss, mean 1.
    """

    target: Tensor
    source: Tensor
    label: Tensor
    weight: Tensor


class Source(Protocol):
    """Where batches come from."""

    paired: bool

    def batch(self, rng: np.random.Generator, size: int) -> Batch: ...


#: Small parts decide the label and the likeness, so errors there count more.
_PART_WEIGHT = torch.tensor([0.7, 1.2, 1.2, 4.0, 4.0, 2.5, 4.0, 2.0])


class SceneSource:
    """Pairs from rendered scenes; the attributes are expression and age."""

    paired = True

    def __init__(self, scenes: Scenes) -> None:
        self.scenes = scenes

    @staticmethod
    def attributes() -> list[dict[str, object]]:
        return [
            {"name": "expression", "classes": faces.EXPRESSIONS},
            {"name": "age", "classes": faces.AGES},
        ]

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        s = self.scenes
        rows = np.sort(rng.integers(0, len(s), size))
        e, a = rng.integers(0, 2, size), rng.integers(0, 2, size)
        told_e, told_a = rng.random(size) < 0.45, rng.random(size) < 0.3
        # Only what the label tells may differ between source and target.
        se, sa = np.where(told_e, 1 - e, e), np.where(told_a, 1 - a, a)
        label = np.stack(
            [
                np.where(told_e, s.expression[rows, e], -1),
                np.where(told_a, s.age[rows, a], -1),
            ],
            1,
        )
        parts = torch.from_numpy(s.parts[rows, e, a].astype(np.int64))
        weight = _PART_WEIGHT[parts][:, None]
        weight = torch.maximum(weight, 0.8 * F.max_pool2d(weight, 3, 1, 1))
        return Batch(
            target=to_tensor(s.images[rows, e, a]),
            source=to_tensor(s.images[rows, se, sa]),
            label=torch.from_numpy(label),
            weight=weight / weight.mean(),
        )


class _Trainer(nn.Module):
    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.model = DiffusionAutoencoder(architecture)
        a = architecture
        self.plain = WarmupDecoder(a.image_size, a.z_dim, a.encoder_width, a.patch)


def _rate(step: int, steps: int, decay_share: float) -> float:
    """Linear warm-up, a plateau, and a linear fall to one hundredth over the last share."""
    left = (steps - step) / max(1.0, decay_share * steps)
    return min(1.0, (step + 1) / 100) * max(0.01, min(1.0, left))


def _save(path: Path, state: dict[str, object]) -> None:
    beside = path.with_suffix(".tmp")
    with open(beside, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def train_generator(
    source: Source,
    architecture: Architecture,
    config: GeneratorTraining,
    checkpoint: Path,
    device: torch.device | str = "cpu",
) -> Iterator[Progress]:
    """Train; the averaged weights are read afterwards with :func:`averaged_weights`.

    Resumes from ``checkpoint`` where it exists; a resumed run on a CPU is bit-identical to an
    undisturbed one. Raises :class:`DiffInfError` where the checkpoint belongs to another
    configuration.
    """
    provenance = {"architecture": architecture.model_dump(mode="json"), **config.model_dump()}
    torch.manual_seed(config.seed)
    net = _Trainer(architecture).to(device).to(memory_format=torch.channels_last)
    ema = copy.deepcopy(net.model).requires_grad_(False)
    optimiser = torch.optim.AdamW(
        net.parameters(), config.learning_rate, weight_decay=1e-4, betas=(0.9, 0.98)
    )
    rng = np.random.default_rng(config.seed)
    noise = torch.Generator().manual_seed(config.seed)
    begin = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        if state["provenance"] != provenance:
            raise DiffInfError(
                f"{checkpoint} was written with another configuration; "
                "remove it or train with the same one."
            )
        net.load_state_dict(state["net"])
        ema.load_state_dict(state["ema"])
        optimiser.load_state_dict(state["optimiser"])
        rng.bit_generator.state = state["rng"]
        noise.set_state(state["noise"].cpu())
        begin = state["step"]
    total = config.warmup_steps + config.steps
    amp = torch.autocast(torch.device(device).type, torch.bfloat16, "cuda" in str(device))

    def gauss(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=noise).to(like.device)

    def state_at(step: int) -> dict[str, object]:
        return {
            "provenance": provenance,
            "net": net.state_dict(),
            "ema": ema.state_dict(),
            "optimiser": optimiser.state_dict(),
            "rng": rng.bit_generator.state,
            "noise": noise.get_state(),
            "step": step,
        }

    shown = {"denoise": float("nan"), "plain": float("nan")}
    for step in range(begin, total):
        warming = step < config.warmup_steps
        phase_step = step if warming else step - config.warmup_steps
        phase_steps = config.warmup_steps if warming else config.steps
        # Phase one hands over at full speed; only the end of phase two anneals.
        rate = (
            min(1.0, (step + 1) / 100)
            if warming
            else _rate(phase_step, phase_steps, config.decay_share)
        )
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * rate
        batch = source.batch(rng, config.batch_size)
        x, weight = batch.target.to(device), batch.weight.to(device)
        with amp:
            if warming:
                z = net.model.encode(x)
                plain = net.plain(z + config.z_noise * gauss(z))
                loss = plain_loss = (weight * (plain.float() - x).abs()).mean()
            else:
                z = net.model.encode(batch.source.to(device))
                z = z + config.z_noise * gauss(z)
                code = z
                if not source.paired and config.z_blank:
                    blank = torch.rand(len(z), 1, generator=noise) < config.z_blank
                    code = torch.where(blank.to(device), torch.zeros_like(z), z)
                low = torch.rand(len(x), generator=noise) < config.low_time_share
                u = torch.rand(len(x), generator=noise)
                t = torch.where(
                    low, u * config.low_time, config.low_time + u * (TIMES - config.low_time)
                )
                t = t.long().clamp_(max=TIMES - 1).to(device)
                eps = gauss(x)
                a = abar(t, x)
                x_t = a.sqrt() * x + (1 - a).sqrt() * eps
                v = a.sqrt() * eps - (1 - a).sqrt() * x
                predicted = net.model.unet(x_t, t, code, batch.label.to(device))
                loss = (weight * (predicted.float() - v) ** 2).mean()
                shown["denoise"] = loss.item()
                # The plain decoder reads the source's code, so it is scored where source = target.
                same = (batch.label < 0).all(1).to(device)
                plain_loss = loss.new_zeros(())
                if config.warmup_weight and same.any():
                    plain = net.plain(z[same])
                    plain_loss = (weight[same] * (plain.float() - x[same]).abs()).mean()
                    loss = loss + config.warmup_weight * plain_loss
        if not torch.isfinite(loss):
            raise DiffInfError(
                f"Training diverged at step {step}: the loss is {loss.item()}; "
                "resume from the last checkpoint with a lower learning_rate."
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), config.clip)
        optimiser.step()
        with torch.no_grad():
            decay = min(config.ema, (1 + step) / (10 + step))
            for kept, now in zip(ema.parameters(), net.model.parameters(), strict=True):
                kept.lerp_(now, 1 - decay)
        shown["plain"] = plain_loss.item()
        if (step + 1) % _CHECKPOINT_EVERY == 0 or step + 1 == total:
            _save(checkpoint, state_at(step + 1))
        yield Progress("train-generator", step + 1, total, values=dict(shown))


def averaged_weights(checkpoint: Path) -> DiffusionAutoencoder:
    """The averaged model of a training checkpoint, on the CPU, in evaluation mode."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model = DiffusionAutoencoder(Architecture(**state["provenance"]["architecture"]))
    model.load_state_dict(state["ema"])
    return model.eval().requires_grad_(False)
