"""Training of a diffusion autoencoder, as a generator of progress events that can be resumed.

Two phases: the encoder first learns, with a plain decoder, to represent what is in a picture; then
encoder and UNet learn to denoise together (v-prediction). The published model skips the first phase; at
this size it saves about half of the time.

Where the data has pairs (the same person with another label), half of each batch encodes one picture and
produces the other, conditioned on its label; the rest reconstructs with the label unknown. That is what
makes guidance mean "change the label and nothing else". Without pairs, conditioning dropout on z_sem makes
the network use the label.

One process or several: under ``accelerate launch`` each takes its own batches and gradients are
averaged.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from diffinf_core.diffusion.architecture import Architecture
from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder
from diffinf_core.diffusion.first_stage import FirstStage
from diffinf_core.diffusion.label_free import LabelAdversary
from diffinf_core.diffusion.loss import GeneratorLoss
from diffinf_core.diffusion.monitor import (
    Curve,
    HeldOut,
    Judge,
    StepLog,
    held_out_figures,
    write_grid,
)
from diffinf_core.diffusion.processes import make_accelerator
from diffinf_core.diffusion.rate import RateSchedule
from diffinf_core.diffusion.settings import FREE, GeneratorTraining, with_current_names
from diffinf_core.diffusion.sources import SeededBatch, Source, read_ahead
from diffinf_core.diffusion.start import start_from
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.divergence import check_loss
from diffinf_core.runs.files import read_tensors, write_tensors


def train_generator(
    source: Source,
    architecture: Architecture,
    config: GeneratorTraining,
    checkpoint: Path,
    device: str | None = None,
    start: DiffusionAutoencoder | None = None,
    about: dict[str, Any] | None = None,
    first_stage: FirstStage | None = None,
    judge: Judge | None = None,
) -> Iterator[Progress]:
    """Train; the averaged weights are read afterwards with :func:`averaged_weights`.

    ``first_stage`` is the one whose latents ``source`` gives, for held-out figures and grids; ``judge`` tells
    how many held-out edits show their class.

    Writes ``checkpoint``, and beside it ``curve.csv``, ``curve.html`` and ``grids/``. ``start`` are
    initial weights, ``about`` describes the data. Resumes from ``checkpoint`` where it exists; on a CPU a
    resumed training is bit-identical to an undisturbed one. ``device`` is "cpu", or None for a GPU
    where there is one. Raises :class:`DiffInfError` where the checkpoint belongs to another
    configuration or other data, and where the loss is not finite any more.
    """
    trainer = _Trainer(
        source, architecture, config, checkpoint, device, start, about or {}, first_stage, judge
    )
    accelerator, schedule = trainer.accelerator, trainer.schedule
    images_per_step = config.batch_size * config.accumulate * accelerator.num_processes
    log = StepLog(Curve(checkpoint.parent, trainer.done), trainer.done, images_per_step)
    values: dict[str, float] = {}
    batches = read_ahead(
        source,
        config.seed,
        count(trainer.done) if schedule.timed else range(trainer.done, schedule.total),
        accelerator.process_index,
        config.accumulate,
        config.batch_size,
        config.readers,
    )
    try:
        for step, parts in enumerate(batches, start=trainer.done):
            if step >= schedule.total:
                break
            rate = config.learning_rate * schedule.factor(step)
            losses = trainer.take_step(step, parts, rate)
            if schedule.record_time(trainer.seconds, trainer.done) and accelerator.is_main_process:
                trainer.save()  # a resumed training decays at the same step
            figures = trainer.evaluate() if trainer.evaluation_due else None
            if not accelerator.is_main_process:
                continue
            values |= (figures or {}) | {name: passes[-1] for name, passes in losses.items()}
            log.add(losses)
            log.write(trainer.done, {"rate": rate}, figures, last=trainer.finished)
            if trainer.done % config.checkpoint_every == 0 or trainer.finished:
                trainer.save()
            yield Progress(
                "train-generator", trainer.done, trainer.total, trainer.remark, values=dict(values)
            )
    finally:
        batches.close()


def averaged_weights(checkpoint: Path) -> DiffusionAutoencoder:
    """The averaged model of a training checkpoint, on the CPU, in evaluation mode."""
    state = read_tensors(checkpoint)
    model = DiffusionAutoencoder(Architecture(**state["provenance"]["architecture"]))
    model.load_state_dict(state["ema"])
    return model.eval().requires_grad_(False)


class _Trainer:
    """Networks, optimiser and schedule of one training: restored, stepped, evaluated, saved."""

    def __init__(
        self,
        source: Source,
        architecture: Architecture,
        config: GeneratorTraining,
        checkpoint: Path,
        device: str | None,
        start: DiffusionAutoencoder | None,
        about: dict[str, Any],
        first_stage: FirstStage | None,
        judge: Judge | None,
    ) -> None:
        self.config, self.checkpoint = config, checkpoint
        self.accelerator = make_accelerator(config, device)
        self._provenance = {
            "architecture": architecture.model_dump(mode="json"),
            "training": config.model_dump(mode="json", exclude=FREE),
            "about": about,
            "processes": self.accelerator.num_processes,
        }
        self.schedule = RateSchedule(
            config.steps,
            config.decay_fraction,
            config.minutes,
            config.warmup_steps,
            config.patience,
        )
        #: optimiser steps made
        self.done = 0
        #: what the progress says beside the numbers
        self.note = ""
        self._build(source, architecture, start, first_stage, judge)
        self._seconds = 0.0
        self._restore_and_prepare()
        self._began = time.perf_counter()

    def _build(
        self,
        source: Source,
        architecture: Architecture,
        start: DiffusionAutoencoder | None,
        first_stage: FirstStage | None,
        judge: Judge | None,
    ) -> None:
        """Fresh or given weights, their average, the optimiser and the held-out pictures."""
        torch.manual_seed(self.config.seed)
        net = GeneratorLoss(architecture, self.config, source.paired)
        if start is not None:
            fresh = start_from(net.model, start)
            if fresh:
                self.note = f"{fresh} tensors begin at random, wholly or in part: the given weights lack them"
        device = self.accelerator.device
        self._net = net.to(device).to(memory_format=torch.channels_last)
        self._ema = copy.deepcopy(self._net.model).requires_grad_(False).eval()
        frequencies = source.frequencies()
        self._adversary: LabelAdversary | None = None
        if self.config.label_free and frequencies is not None:
            shown = torch.from_numpy(frequencies).to(device)
            self._adversary = LabelAdversary(architecture.z_dim, shown).to(device)
        # listed once: walking the modules at every step took half a millisecond for each list
        self._parameters = list(net.parameters())
        self._learnt: list[Tensor] = list(net.model.parameters())
        self._averages: list[Tensor] = list(self._ema.parameters())
        self._optimiser = torch.optim.AdamW(
            self._parameters,
            self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            betas=(0.9, 0.98),
            fused=True,
        )
        if first_stage is not None:
            self._ema.attach(first_stage)
        self._held_out = None
        if self.accelerator.is_main_process:
            self._held_out = HeldOut.of(self._ema, source, device, judge)

    def _restore_and_prepare(self) -> None:
        """Take up the checkpoint, if there is one, and hand everything to Accelerate."""
        state: dict[str, Any] = {}
        if self.checkpoint.exists():
            state = with_current_names(read_tensors(self.checkpoint))
            if _with_defaults(state["provenance"]) != _with_defaults(self._provenance):
                raise DiffInfError(
                    f"{self.checkpoint} was written with another configuration or for other data; "
                    "remove it or train with the same one."
                )
            self._net.load_state_dict(state["net"])
            self._ema.load_state_dict(state["ema"])
            if self._adversary is not None:
                self._adversary.load_state_dict(state["adversary"])
                self._adversary.optimiser.load_state_dict(state["adversary_optimiser"])
            self.done = state["step"]
            self._seconds = float(state.get("seconds", 0.0))
            self.schedule.load(state)
        if self.config.compile:
            self._net.model.unet.compile()
        self._wrapped, self._optimiser = self.accelerator.prepare(self._net, self._optimiser)
        if state:
            # after prepare, which would move Adam's step counts to the device
            self._optimiser.load_state_dict(state["optimiser"])
        if self.accelerator.scaler is not None and state.get("scaler"):
            self.accelerator.scaler.load_state_dict(state["scaler"])

    @property
    def seconds(self) -> float:
        """Time spent, that of the resumed trainings included."""
        return self._seconds + time.perf_counter() - self._began

    @property
    def total(self) -> int:
        """Steps in all; estimated from the speed so far while the time budget decides."""
        return self.schedule.estimated_total(self.seconds, self.done)

    @property
    def remark(self) -> str:
        """The note, and the time that is left while the steps that it comes to are not known."""
        return "; ".join(filter(None, (self.note, self.schedule.time_left(self.seconds))))

    @property
    def finished(self) -> bool:
        return self.done == self.schedule.total

    @property
    def evaluation_due(self) -> bool:
        step_of_phase = self.done - self.config.warmup_steps
        return step_of_phase > 0 and step_of_phase % self.config.evaluate_every == 0

    def take_step(
        self, step: int, parts: Sequence[SeededBatch], rate: float
    ) -> dict[str, list[float]]:
        """One optimiser step over its parts; each loss term, one value per part that has it."""
        accelerator = self.accelerator
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        losses: dict[str, list[float]] = {}
        for i, part in enumerate(parts):
            last = i + 1 == len(parts)
            # Processes talk once per optimiser step, not once per pass.
            with (
                nullcontext() if last else accelerator.no_sync(self._wrapped),
                accelerator.autocast(),
            ):
                out = self._wrapped(part, accelerator.device, step < self.config.warmup_steps)
                loss = out.pop("loss")
                if "z" in out:
                    loss = loss + self._against_label(out.pop("z"), part, step, out)
                accelerator.backward(loss / len(parts))
            for name, value in out.items():
                losses.setdefault(name, []).append(float(value))
        for values in losses.values():
            check_loss(
                values[-1],
                "The generator's training",
                f"step {step}",
                "the same command with a lower rate (--set "
                f"learning_rate={self.config.learning_rate / 3:.2g}) resumes from the last checkpoint",
            )
        accelerator.clip_grad_norm_(self._parameters, self.config.clip)
        self._optimiser.step()
        with torch.no_grad():
            decay = min(self.config.ema, (1 + step) / (10 + step))
            torch._foreach_lerp_(self._averages, self._learnt, 1 - decay)
        self.done = step + 1
        return losses

    def _against_label(
        self, z: Tensor, part: SeededBatch, step: int, out: dict[str, Tensor]
    ) -> Tensor:
        """The weighted loss that keeps the label out of codes z (B, z_dim); the adversary learns first."""
        shown = part.batch.shown
        if self._adversary is None or shown is None or not (shown >= 0).any():
            return z.new_zeros(())
        known = torch.from_numpy(shown >= 0).to(z.device)
        label = torch.from_numpy(shown).to(z.device)[known]
        rng = torch.Generator(z.device).manual_seed(part.seed ^ 1)
        with torch.autocast(z.device.type, enabled=False):
            out["adversary"] = self._adversary.learn(z[known], label, rng)
            pull = self._adversary.pull(z[known], rng)
        return self.config.label_free * min(1.0, step / self.config.label_free_after) * pull

    def evaluate(self) -> dict[str, float]:
        """Held-out figures and a grid of previews, in the main process; the rate may begin to decay."""
        figures: dict[str, float] = {}
        if self._held_out is not None:
            figures = held_out_figures(self._ema, self._held_out, self.config.seed)
            folder = self.checkpoint.parent
            write_grid(folder, self._ema, self._held_out, self.done, self.config.seed)
        validation = _from_main_process(self.accelerator, figures.get("validation", 0.0))
        if self.schedule.record(validation, self.done):
            self.note = "the held-out loss has stalled: the learning rate decays early"
        return figures

    def _adversary_state(self) -> dict[str, Any]:
        if self._adversary is None:
            return {}
        return {
            "adversary": self._adversary.state_dict(),
            "adversary_optimiser": self._adversary.optimiser.state_dict(),
        }

    def save(self) -> None:
        """Write the checkpoint: everything that a bit-identical resume needs."""
        scaler = self.accelerator.scaler
        state = {
            "provenance": self._provenance,
            "net": self._net.state_dict(),
            "ema": self._ema.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            **self._adversary_state(),
            "scaler": scaler.state_dict() if scaler is not None else {},
            "step": self.done,
            "seconds": self.seconds,
            **self.schedule.state(),
        }
        write_tensors(self.checkpoint, state)


def _with_defaults(provenance: dict[str, Any]) -> dict[str, Any]:
    """A stored provenance, with the defaults of settings that came after it was stored."""
    architecture = Architecture(**provenance["architecture"])
    training = GeneratorTraining(**provenance["training"])
    if architecture.latent is not None:  # an earlier version did not say so there
        known = training.z_dropout > 0
        architecture = architecture.model_copy(update={"label_alone": known})
    # what a generator sees of other pictures than these changes nothing in its training
    architecture = architecture.model_copy(update={"grey": False})
    return {
        **provenance,
        "architecture": architecture.model_dump(mode="json"),
        "training": training.model_dump(mode="json", exclude=FREE),
    }


def _from_main_process(accelerator: Accelerator, value: float) -> float:
    """The main process's value, in every process."""
    if accelerator.num_processes == 1:
        return value
    shared = torch.tensor([value], device=accelerator.device)
    torch.distributed.broadcast(shared, 0)
    return float(shared)
