"""Training of a diffusion autoencoder, as a generator of progress events that can be resumed.

Two phases: the encoder first learns, with a plain decoder, to say what is in a picture; then encoder
and UNet learn to denoise together (v-prediction). The published model skips the first phase; at this
size it saves about half of the time.

Where the data has pairs (the same person with another label), half of each batch encodes one and
asks for the other by its label, the rest reconstructs with the label unknown. That is what makes
guidance mean "change the label and nothing else". Without pairs, z_sem is blanked for a share of the
batch, so that the label is worth listening to.

One process or several: under ``accelerate launch`` each takes its own batches and gradients are
averaged.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedDataParallelKwargs
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from diffinf_core.diffusion.autoencoder import Architecture, DiffusionAutoencoder
from diffinf_core.diffusion.monitor import Curve, held_out_figures, write_grid
from diffinf_core.diffusion.network import WarmupDecoder
from diffinf_core.diffusion.schedule import TIMES, abar
from diffinf_core.diffusion.sources import Draw, Source, ahead
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import read_tensors, write_tensors

#: steps between rows of the curve
_ROW_EVERY = 50
#: a held-out loss must fall by this share to count as better
_BETTER = 0.002


class GeneratorTraining(BaseModel):
    """How to train a generator."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    warmup_steps: int = Field(1800, ge=0, description="steps of the encoder-only phase")
    steps: int = Field(4000, ge=1, description="steps of the diffusion phase, at most")
    batch_size: int = Field(24, ge=2, description="pictures per pass and process")
    accumulate: int = Field(1, ge=1, description="passes per optimiser step")
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
    patience: int = Field(
        5,
        ge=0,
        description="evaluations without a better held-out loss before the rate falls; 0: off",
    )
    evaluate_every: int = Field(1000, ge=1, description="steps between grids and held-out figures")
    checkpoint_every: int = Field(200, ge=1, description="steps that a kill can cost at most")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="what networks compute in; auto: half precision on a GPU"
    )
    compile: bool = Field(False, description="compile the UNet; pays after some minutes on a GPU")
    readers: int = Field(2, ge=0, description="threads that read batches ahead")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of weights, batches and noise")


#: settings that may change between a stop and its resume: how fast a step is, and what a person
#: may want to turn down after a divergence
_FREE = {"checkpoint_every", "readers", "compile", "learning_rate", "clip"}
#: the names that Accelerate gives them
_PRECISION = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


class _Trainer(nn.Module):
    """Both losses as one forward pass, so that several processes can wrap it."""

    def __init__(self, architecture: Architecture, config: GeneratorTraining, paired: bool) -> None:
        super().__init__()
        self.model = DiffusionAutoencoder(architecture)
        a = architecture
        self.plain = WarmupDecoder(a.image_size, a.z_dim, a.encoder_width, a.patch)
        self.config, self.paired = config, paired

    def forward(self, draw: Draw, device: torch.device, warming: bool) -> dict[str, Tensor]:
        c = self.config
        batch = draw.batch
        noise = torch.Generator(device).manual_seed(draw.seed)

        def gauss(like: Tensor) -> Tensor:
            return torch.randn(like.shape, generator=noise, device=device)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=noise, device=device)

        def pictures(images: np.ndarray) -> Tensor:
            x = torch.from_numpy(np.ascontiguousarray(images))
            x = x.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 127.5 - 1
            return x.contiguous(memory_format=torch.channels_last)

        x = pictures(batch.target)
        label = torch.from_numpy(batch.label).to(device)
        weight = torch.ones((), device=device)
        if batch.weight is not None:
            weight = torch.from_numpy(batch.weight).to(device)[:, None]
        if warming:
            z = self.model.encode(x)
            plain = self.plain(z + c.z_noise * gauss(z))
            loss = (weight * (plain.float() - x).abs()).mean()
            return {"loss": loss, "plain": loss.detach()}
        z = self.model.encode(x if batch.source is batch.target else pictures(batch.source))
        z = z + c.z_noise * gauss(z)
        code = z
        if not self.paired and c.z_blank and label.shape[1]:
            blank = uniform(len(z), 1) < c.z_blank
            code = torch.where(blank, torch.zeros_like(z), z)
        low, u = uniform(len(x)) < c.low_time_share, uniform(len(x))
        t = torch.where(low, u * c.low_time, c.low_time + u * (TIMES - c.low_time))
        t = t.long().clamp_(max=TIMES - 1)
        eps = gauss(x)
        a = abar(t, x)
        x_t = a.sqrt() * x + (1 - a).sqrt() * eps
        v = a.sqrt() * eps - (1 - a).sqrt() * x
        loss = (weight * (self.model.unet(x_t, t, code, label).float() - v) ** 2).mean()
        out = {"denoise": loss.detach()}
        # The plain decoder reads the source's code, so it is scored where source = target.
        same = (label < 0).all(1) if self.paired else torch.ones(len(x), dtype=torch.bool)
        if c.warmup_weight and same.any():
            plain = self.plain(z[same])
            part = weight[same] if weight.dim() else weight
            plain_loss = (part * (plain.float() - x[same]).abs()).mean()
            loss = loss + c.warmup_weight * plain_loss
            out["plain"] = plain_loss.detach()
        return {"loss": loss, **out}


def _rate(step: int, begin_of_fall: int, fall: int) -> float:
    """Linear warm-up, a plateau, and a linear fall to one hundredth."""
    left = 1 - (step - begin_of_fall) / max(1, fall)
    return min(1.0, (step + 1) / 100) * max(0.01, min(1.0, left))


def _accelerator(config: GeneratorTraining, device: str | None) -> Accelerator:
    if not torch.distributed.is_initialized():
        # One process may train again with another precision, as tests do.
        AcceleratorState._reset_state(reset_partial_state=True)
    cpu = device == "cpu" or not torch.cuda.is_available()
    precision: str = config.precision
    if precision == "auto":
        exact = not cpu and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "float32" if cpu else "bfloat16" if exact else "float16"
    if precision == "float16" and cpu:
        raise DiffInfError("precision float16 needs a GPU; take bfloat16 or float32.")
    # In phase one the UNet gets no gradient.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(cpu=cpu, mixed_precision=_PRECISION[precision], kwargs_handlers=[unused])


def main_process() -> bool:
    """Whether this process, of those that train together, reports and writes."""
    return _processes().is_main_process


def _processes() -> PartialState:
    # The others may wait for as long as the first one decodes or renders.
    return PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=1))


def led_by_one(events: Iterator[Progress]) -> Iterator[Progress]:
    """Work that only the first of several processes may do; the others wait, and find it done."""
    with _processes().main_process_first():
        yield from events


def _start_from(model: DiffusionAutoencoder, weights: dict[str, Tensor]) -> int:
    """Take over every tensor that fits; returns how many did not."""
    own = model.state_dict()
    fitting = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    model.load_state_dict(fitting, strict=False)
    return len(own) - len(fitting)


def train_generator(
    source: Source,
    architecture: Architecture,
    config: GeneratorTraining,
    checkpoint: Path,
    device: str | None = None,
    start: dict[str, Tensor] | None = None,
    about: dict[str, Any] | None = None,
) -> Iterator[Progress]:
    """Train; the averaged weights are read afterwards with :func:`averaged_weights`.

    Writes ``checkpoint``, and beside it ``curve.csv``, ``curve.html`` and ``grids/``. ``start`` are
    weights to go on from, ``about`` says what the data is. Resumes from ``checkpoint`` where it
    exists; on a CPU a resumed training is bit-identical to an undisturbed one. ``device`` is "cpu",
    or None for a GPU where there is one. Raises :class:`DiffInfError` where the checkpoint belongs to
    another configuration or other data, and where the loss is no number any more.
    """
    accelerator = _accelerator(config, device)
    where = accelerator.device
    provenance = {
        "architecture": architecture.model_dump(mode="json"),
        "training": config.model_dump(mode="json", exclude=_FREE),
        "about": about or {},
        "processes": accelerator.num_processes,
    }
    torch.manual_seed(config.seed)
    net = _Trainer(architecture, config, source.paired)
    note = ""
    if start is not None:
        fresh = _start_from(net.model, start)
        note = f"{fresh} of its tensors are new" if fresh else ""
    net = net.to(where).to(memory_format=torch.channels_last)
    ema = copy.deepcopy(net.model).requires_grad_(False).eval()
    optimiser = torch.optim.AdamW(
        net.parameters(), config.learning_rate, weight_decay=1e-4, betas=(0.9, 0.98)
    )
    held = source.held_out().to(where) if accelerator.is_main_process else None
    begin, falls_at = 0, round(config.steps * (1 - config.decay_share))
    fall = config.steps - falls_at
    best, waited = float("inf"), 0
    state: dict[str, Any] = {}
    if checkpoint.exists():
        state = read_tensors(checkpoint)
        if state.get("provenance") != provenance:
            raise DiffInfError(
                f"{checkpoint} was written with another configuration or for other data; "
                "remove it or train with the same one."
            )
        net.load_state_dict(state["net"])
        ema.load_state_dict(state["ema"])
        begin, falls_at = state["step"], state["falls_at"]
        best, waited = state["best"], state["waited"]
    if config.compile:
        net.model.unet.compile()
    wrapped, optimiser = accelerator.prepare(net, optimiser)
    if state:
        # after prepare, which would move what Adam counts to the device
        optimiser.load_state_dict(state["optimiser"])
    if accelerator.scaler is not None and state.get("scaler"):
        accelerator.scaler.load_state_dict(state["scaler"])
    del state
    curve = Curve(checkpoint.parent, begin)

    def state_at(step: int) -> dict[str, object]:
        scaler = accelerator.scaler
        return {
            "provenance": provenance,
            "net": net.state_dict(),
            "ema": ema.state_dict(),
            "optimiser": optimiser.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
            "step": step,
            "falls_at": falls_at,
            "best": best,
            "waited": waited,
        }

    most = config.warmup_steps + config.steps
    shown: dict[str, float] = {}
    sums: dict[str, list[float]] = {}
    pace, since = time.perf_counter(), begin
    batches = ahead(
        source,
        config.seed,
        range(begin, most),
        accelerator.process_index,
        config.accumulate,
        config.batch_size,
        config.readers,
    )
    try:
        for step, draws in enumerate(batches, start=begin):
            total = config.warmup_steps + falls_at + fall
            if step >= total:
                break
            warming = step < config.warmup_steps
            # Phase one hands over at full speed; only the end of phase two anneals.
            rate = (
                min(1.0, (step + 1) / 100)
                if warming
                else _rate(step - config.warmup_steps, falls_at, fall)
            )
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * rate
            optimiser.zero_grad(set_to_none=True)
            for i, draw in enumerate(draws):
                last = i + 1 == len(draws)
                # Processes talk once per optimiser step, not once per pass.
                with (
                    nullcontext() if last else accelerator.no_sync(wrapped),
                    accelerator.autocast(),
                ):
                    out = wrapped(draw, where, warming)
                    loss = out.pop("loss")
                    accelerator.backward(loss / len(draws))
                for name, value in out.items():
                    sums.setdefault(name, []).append(float(value))
            if not all(np.isfinite(v[-1]) for v in sums.values()):
                raise DiffInfError(
                    f"Training diverged at step {step}: the loss is no number any more; the same command "
                    f"with a lower rate (--set learning_rate={config.learning_rate / 3:.2g}) goes on from "
                    "the last checkpoint."
                )
            accelerator.clip_grad_norm_(net.parameters(), config.clip)
            optimiser.step()
            with torch.no_grad():
                decay = min(config.ema, (1 + step) / (10 + step))
                torch._foreach_lerp_(
                    list(ema.parameters()), list(net.model.parameters()), 1 - decay
                )
            done = step + 1
            evaluated = (done - config.warmup_steps) % config.evaluate_every == 0 and not warming
            if evaluated:
                figures: dict[str, float] = {}
                if held is not None:
                    figures = held_out_figures(ema, held, config.seed)
                    write_grid(checkpoint.parent, ema, held, done, config.seed)
                best, waited = _judged(accelerator, figures.get("validation", 0.0), best, waited)
                reached = done - config.warmup_steps
                if config.patience and waited >= config.patience and reached < falls_at:
                    falls_at = reached
                    note = "held-out loss stands still: the rate falls early"
                shown.update(figures)
            if held is not None:
                shown.update({name: values[-1] for name, values in sums.items()})
                if done % _ROW_EVERY == 0 or evaluated or done == total:
                    now = time.perf_counter()
                    row = {name: float(np.mean(values)) for name, values in sums.items()}
                    row["rate"] = config.learning_rate * rate
                    seen = (done - since) * config.batch_size * config.accumulate
                    row["images_per_second"] = seen * accelerator.num_processes / (now - pace)
                    if evaluated:
                        row.update(figures)
                    curve.add(done, row)
                    if evaluated or done == total:
                        curve.draw()
                    sums, pace, since = {}, time.perf_counter(), done
                total = config.warmup_steps + falls_at + fall
                if done % config.checkpoint_every == 0 or done == total:
                    write_tensors(checkpoint, state_at(done))
                yield Progress("train-generator", done, total, note, values=dict(shown))
            else:
                sums = {}
    finally:
        batches.close()


def _judged(
    accelerator: Accelerator, validation: float, best: float, waited: int
) -> tuple[float, int]:
    """The best held-out loss and the evaluations since, the same in every process."""
    if accelerator.num_processes > 1:
        found = torch.tensor([validation], device=accelerator.device)
        torch.distributed.broadcast(found, 0)
        validation = float(found)
    if validation < best * (1 - _BETTER):
        return validation, 0
    return best, waited + 1


def averaged_weights(checkpoint: Path) -> DiffusionAutoencoder:
    """The averaged model of a training checkpoint, on the CPU, in evaluation mode."""
    state = read_tensors(checkpoint)
    model = DiffusionAutoencoder(Architecture(**state["provenance"]["architecture"]))
    model.load_state_dict(state["ema"])
    return model.eval().requires_grad_(False)
