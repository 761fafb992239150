"""Train a generator and store it with its model card."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from diffinf_core.config import explain
from diffinf_core.data.part import open_training, to_tensor
from diffinf_core.data.pictures import pack_pictures
from diffinf_core.data.rendered.scenes import open_scenes, render_scenes
from diffinf_core.diffusion.architecture import Architecture, Attribute
from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder
from diffinf_core.diffusion.card import card_text
from diffinf_core.diffusion.figures import reconstruction_figures
from diffinf_core.diffusion.first_stage import FirstStage
from diffinf_core.diffusion.loading import load_autoencoder, weights_file
from diffinf_core.diffusion.monitor import EDITED, Curve, HeldOut, Judge, edit_figures, faded
from diffinf_core.diffusion.processes import main_process, main_process_first
from diffinf_core.diffusion.regions import label_regions
from diffinf_core.diffusion.settings import GeneratorTraining
from diffinf_core.diffusion.sources import PictureSource, SceneSource, Source
from diffinf_core.diffusion.trainer import averaged_weights, train_generator
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import (
    digest,
    file_digest,
    read_json,
    read_tensors,
    remove_orphans,
    write_json,
    write_text,
)
from diffinf_core.runs.run import Run
from diffinf_core.runs.seal import under_seal
from diffinf_core.weights.files import card_of, save_weights

#: scenes that no other training and no demo data set uses, for the card's figures
_FIGURE_SEED = 77001


def make_settings(given: dict[str, Any], start: Path | None) -> GeneratorTraining:
    """The settings of a training; :class:`DiffInfError` for one that does not exist or is out of range."""
    # Given weights need no encoder-only phase, and have no plain decoder to train.
    begin = {} if start is None else {"warmup_steps": 0, "warmup_weight": 0.0}
    try:
        return GeneratorTraining(**{**begin, **given})
    except ValidationError as error:
        raise DiffInfError(explain(error)) from error


def train_and_publish(
    source: Source,
    architecture: Architecture,
    settings: GeneratorTraining,
    out: Path,
    data: dict[str, Any],
    command: str,
    start: Path | None,
    first_stage: FirstStage | None = None,
    judge: Judge | None = None,
) -> Iterator[Progress]:
    """Train, resuming what a kill left in ``out``, and write generator.safetensors with its card there."""
    out.mkdir(parents=True, exist_ok=True)
    if main_process():
        remove_orphans(out)
    checkpoint, clock = out / "generator.ckpt", out / "generator.clock.json"
    spent = float(read_json(clock)["seconds"]) if clock.exists() and checkpoint.exists() else 0.0
    began = time.perf_counter()
    given = None
    about = dict(data)
    if start is not None:
        loaded = load_autoencoder(start)
        if not isinstance(loaded, DiffusionAutoencoder):
            raise DiffInfError(f"{start} is a published network; training cannot start from it.")
        given = loaded
        about["start"] = {
            "sha256": file_digest(weights_file(start)),
            "command": card_of(weights_file(start)).get("command", "unknown"),
        }
    events = train_generator(
        source, architecture, settings, checkpoint, None, given, about, first_stage, judge
    )
    for event in events:
        if event.done % settings.checkpoint_every == 0:
            write_json(clock, {"seconds": spent + time.perf_counter() - began})
        yield event
    if not main_process():
        return
    where = "cuda" if torch.cuda.is_available() else "cpu"
    model = averaged_weights(checkpoint).to(where)
    model.architecture = architecture  # a checkpoint of an earlier version does not say all of it
    if first_stage is not None:
        model.attach(first_stage)
    held = HeldOut.of(model, source, torch.device(where), judge)
    steps = int(read_tensors(checkpoint)["step"])
    minutes = (spent + time.perf_counter() - began) / 60
    yield Progress("train-generator", steps, steps, "measuring reconstruction")
    if architecture.inpaints and architecture.attributes:
        note = f"measuring where each label shows in {len(held.x)} pictures"
        yield Progress("train-generator", steps, steps, note)
        model.precision = torch.bfloat16 if settings.precision == "bfloat16" else None
        for seen, so_far in label_regions(model, held.x, held.x0, held.conditions):
            model.regions.copy_(so_far)
            yield Progress("train-generator", steps, steps, f"{note}: {seen}")
        model.precision = None
    edits = edit_figures(model, held)
    enough = edits and len(held.x) >= EDITED
    if enough and (note := faded(Curve(out, steps).rows, edits["turned"], steps, minutes)):
        yield Progress("train-generator", steps, steps, note)
    card = {
        "network": "DiffusionAutoencoder",
        "architecture": architecture.model_dump(mode="json"),
        "training": settings.model_dump(mode="json"),
        "data": about,
        "command": command,
        "steps_made": steps,
        "seconds": round(spent + time.perf_counter() - began),
        "device": where,
        "figures": {
            "held_out": len(held.x),
            **reconstruction_figures(model, held.x),
            **edits,
        },
    }
    save_weights(out / "generator.safetensors", model, card)
    write_text(out / "generator.md", card_text(read_json(out / "generator.json")))
    checkpoint.unlink()
    clock.unlink(missing_ok=True)


def architecture_for(
    size: int, attributes: tuple[Attribute, ...], start: Path | None = None, width: float = 1.0
) -> Architecture:
    """A network for pictures of 32 to 256 pixels a side; small pictures get small patches.

    ``width`` multiplies the channels: 1 suits a CPU, 2 to 4 a GPU. With ``start`` the shape is that of
    those weights.
    """
    if start is not None:
        given = load_autoencoder(start).architecture
        if not isinstance(given, Architecture):
            raise DiffInfError(f"{start} is a published network; training cannot start from it.")
        if given.image_size != size:
            raise DiffInfError(
                f"{start} draws {given.image_size} pixels and the pictures have {size}."
            )
        if width != 1:
            raise DiffInfError(
                "--width has no effect with --start, whose shape is taken; leave it out."
            )
        return given.model_copy(update={"attributes": attributes})
    default = Architecture()

    def wide(channels: int) -> int:
        return max(8, 8 * math.ceil(channels * width / 8))

    widths = tuple(wide(w) for w in default.widths)
    try:
        return Architecture(
            image_size=size,
            patch=2 if size <= 64 else 4,
            widths=widths if size <= 128 else (*widths, widths[-1]),
            embed=wide(default.embed),
            encoder_width=wide(default.encoder_width),
            attributes=attributes,
        )
    except ValidationError as error:
        raise DiffInfError(
            f"There is no network for {size} pixels; take 32, 48, 64, 96, 128, 192 or 256."
        ) from error


def command_line(begin: str, given: dict[str, Any], start: Path | None, width: float) -> str:
    """The command that trains the same again, for the card."""
    extra = "".join(f" --set {k}={v}" for k, v in given.items())
    extra += f" --start {start.name}" if start is not None else ""
    extra += f" --width {width:g}" if width != 1 else ""
    return begin + extra


def refuse_finished(out: Path) -> None:
    """:class:`DiffInfError` where ``out`` holds a finished generator."""
    if (out / "generator.safetensors").exists() and not (out / "generator.ckpt").exists():
        raise DiffInfError(
            f"{out} holds a finished generator, which edits may depend on; move it away or give "
            "--out to train another."
        )


def train_on_scenes(
    out: Path,
    given: dict[str, Any],
    scenes: int,
    seed: int,
    cache: Path,
    start: Path | None = None,
    age_fraction: float = 0.3,
    width: float = 1.0,
) -> Iterator[Progress]:
    """The shipped generator: rendered faces, conditioned on expression and age."""
    settings = make_settings(given, start)
    refuse_finished(out)
    attributes = tuple(Attribute.model_validate(a) for a in SceneSource.attributes())
    architecture = architecture_for(64, attributes, start, width)
    folder = cache / f"{scenes}-{seed}"
    yield from main_process_first(render_scenes(folder, scenes, seed))
    probe_folder = cache / f"120-{_FIGURE_SEED}"
    yield from main_process_first(render_scenes(probe_folder, 120, _FIGURE_SEED))
    probe = to_tensor(open_scenes(probe_folder).images[:, 0, 0])
    source = SceneSource(open_scenes(folder), age_fraction=age_fraction, held=probe)
    data = {
        "kind": "rendered scenes, no real person",
        "scenes": scenes,
        "pictures": 4 * scenes,
        "seed": seed,
        "age_fraction": age_fraction,
    }
    begin = f"diffinf train-generator --out {out} --scenes {scenes} --scene-seed {seed}"
    begin += f" --age-fraction {age_fraction:g}"
    yield from train_and_publish(
        source, architecture, settings, out, data, command_line(begin, given, start, width), start
    )


@under_seal
def train_on_run(
    run: Run, given: dict[str, Any], out: Path | None, start: Path | None, width: float
) -> Iterator[Progress]:
    """A generator for a run's own pictures: its training split only, never validation or test."""
    settings = make_settings({"low_time_fraction": 0.75, **given}, start)
    train = open_training(run)
    source = PictureSource(train, train.labels)
    attribute = Attribute(name="label", classes=train.classes)
    architecture = architecture_for(run.config.data.image_size, (attribute,), start, width)
    # Without pairs the label adds nothing to z_sem: it is learnt where z_sem is dropped.
    architecture = architecture.model_copy(update={"label_alone": settings.z_dropout > 0})
    data = {
        "kind": "training split of a run, assigned labels; validation and test left out",
        "pictures": len(source),
        "ids": digest(train.ids.tolist()),
    }
    target = out or run.root / "generator"
    refuse_finished(target)
    note = f"{len(source)} of {len(train)} training pictures, {len(train) - len(source)} held out; "
    yield Progress("data", 1, 1, note + "validation and test pictures are left out")
    command = command_line("diffinf train-generator --run RUN", given, start, width)
    with run.lock() if out is None and main_process() else nullcontext():
        yield from train_and_publish(source, architecture, settings, target, data, command, start)


def train_on_pictures(
    folder: Path,
    out: Path,
    given: dict[str, Any],
    size: int,
    start: Path | None,
    width: float,
) -> Iterator[Progress]:
    """An unconditional generator, from every picture under a folder."""
    settings = make_settings({"low_time_fraction": 0.75, **given}, start)
    refuse_finished(out)
    architecture = architecture_for(size, (), start, width)
    yield from main_process_first(pack_pictures(folder, out / "pictures", size))
    source = PictureSource(np.load(out / "pictures" / "images.npy", mmap_mode="r"))
    data = {
        "kind": "every picture under a folder, no labels; keep validation and test pictures elsewhere",
        "pictures": len(source),
        "files": read_json(out / "pictures" / "pictures.json")["files"],
    }
    begin = f"diffinf train-generator --pictures {folder.name} --out {out.name} --size {size}"
    command = command_line(begin, given, start, width)
    yield from train_and_publish(source, architecture, settings, out, data, command, start)
