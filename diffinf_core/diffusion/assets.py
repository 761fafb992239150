"""Train a generator and store it with its model card."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from diffinf_core.config import explain
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import open_training, to_tensor
from diffinf_core.data.pictures import pack_pictures
from diffinf_core.data.rendered.scenes import open_scenes, render_scenes
from diffinf_core.diffusion.autoencoder import (
    Architecture,
    Attribute,
    DiffusionAutoencoder,
    LatentSpace,
)
from diffinf_core.diffusion.conditions import (
    TRUST_SCORE,
    covariate,
    covariate_indices,
    trusted,
)
from diffinf_core.diffusion.figures import reconstruction_figures
from diffinf_core.diffusion.first_stage import (
    BESIDE,
    FirstStage,
    find_first_stage,
    import_first_stage,
    load_first_stage,
)
from diffinf_core.diffusion.latent_source import Conditions, LatentSource
from diffinf_core.diffusion.latents import VERSION, encode_latents, open_latents
from diffinf_core.diffusion.loading import load_autoencoder
from diffinf_core.diffusion.processes import main_process, main_process_first
from diffinf_core.diffusion.settings import ON_LATENTS, GeneratorTraining
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


def _settings(given: dict[str, Any], start: Path | None) -> GeneratorTraining:
    # Given weights need no encoder-only phase, and have no plain decoder to train.
    begin = {} if start is None else {"warmup_steps": 0, "warmup_weight": 0.0}
    try:
        return GeneratorTraining(**{**begin, **given})
    except ValidationError as error:
        raise DiffInfError(explain(error)) from error


def _train(
    source: Source,
    architecture: Architecture,
    settings: GeneratorTraining,
    out: Path,
    data: dict[str, Any],
    command: str,
    start: Path | None,
    first_stage: FirstStage | None = None,
) -> Iterator[Progress]:
    out.mkdir(parents=True, exist_ok=True)
    if main_process():
        remove_orphans(out)
    checkpoint, clock = out / "generator.ckpt", out / "generator.clock.json"
    spent = float(read_json(clock)["seconds"]) if clock.exists() and checkpoint.exists() else 0.0
    began = time.perf_counter()
    weights = None
    about = dict(data)
    if start is not None:
        given = load_autoencoder(start)
        if not isinstance(given, DiffusionAutoencoder):
            raise DiffInfError(f"{start} is a published network; training cannot start from it.")
        weights = given.state_dict()
        about["start"] = {
            "sha256": file_digest(start),
            "command": card_of(start).get("command", "unknown"),
        }
    events = train_generator(
        source, architecture, settings, checkpoint, None, weights, about, first_stage
    )
    for event in events:
        if event.done % settings.checkpoint_every == 0:
            write_json(clock, {"seconds": spent + time.perf_counter() - began})
        yield event
    if not main_process():
        return
    where = "cuda" if torch.cuda.is_available() else "cpu"
    model = averaged_weights(checkpoint).to(where)
    if first_stage is not None:
        model.attach(first_stage)
    held = source.held_out()
    steps = int(read_tensors(checkpoint)["step"])
    yield Progress("train-generator", steps, steps, "measuring reconstruction")
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
            "held_out": len(held),
            **reconstruction_figures(model, held.to(where)),
        },
    }
    save_weights(out / "generator.safetensors", model, card)
    write_text(out / "generator.md", card_text(read_json(out / "generator.json")))
    checkpoint.unlink()
    clock.unlink(missing_ok=True)


def card_text(card: dict[str, Any]) -> str:
    """The model card as Markdown, every line from the card of the weights."""
    attributes = card["architecture"]["attributes"]
    conditions = "; ".join(f"{a['name']}: {', '.join(a['classes'])}" for a in attributes)
    lines = [
        "# Generator",
        "",
        "A small diffusion autoencoder, trained by DiffInf to repair training pictures.",
        "",
        f"* Pictures: {card['architecture']['image_size']} pixels; parameters: "
        f"{card['parameters']:,}; SHA-256 {card['sha256']}.",
        f"* Conditioned on: {conditions or 'no labels'}.",
        *_latent_lines(card["architecture"]),
        *(f"* Data, {key}: {value}." for key, value in card["data"].items()),
        f"* Trained on {card['device']}, {card['steps_made']:,} steps in {card['seconds']:,} s, by "
        f"`{card['command']}`.",
        *(f"* {key.replace('_', ' ')}: {_short(value)}." for key, value in card["figures"].items()),
        "",
        "Meant for repairing pictures like those it was trained on, under human review. What it generates "
        "is synthetic and must be marked as such; it inherits the bias of its data and the licence and "
        "the consent under which that data may be used.",
        "",
    ]
    return "\n".join(lines)


def _latent_lines(architecture: dict[str, Any]) -> list[str]:
    space = architecture.get("latent")
    if not space:
        return []
    kept = [a["name"] for a in architecture["attributes"] if a["covariate"]]
    kept += ["coarse colour"] if architecture["colour"] else []
    return [
        f"* Works on latents of {space['name']} ({len(space['mean'])} channels, sides "
        f"{space['factor']} times smaller; {BESIDE}, SHA-256 {space['first_stage']}).",
        f"* Kept fixed in an edit: {', '.join(kept) or 'nothing'}.",
    ]


def _short(value: float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


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


def latent_architecture(
    size: int,
    attributes: tuple[Attribute, ...],
    space: LatentSpace,
    colour: bool,
    start: Path | None = None,
    width: float = 1.0,
) -> Architecture:
    """A network for latents; ``width`` multiplies the channels, ``start`` has the shape that is taken."""
    if start is not None:
        given = load_autoencoder(start).architecture
        if not isinstance(given, Architecture) or given.latent is None:
            raise DiffInfError(f"{start} does not work on latents; training cannot start from it.")
        if (given.image_size, given.latent.first_stage) != (size, space.first_stage):
            raise DiffInfError(
                f"{start} was trained on {given.image_size} pixels and latents of {given.latent.name}; the "
                f"pictures have {size} and the first stage is {space.name}."
            )
        if width != 1:
            raise DiffInfError(
                "--width has no effect with --start, whose shape is taken; leave it out."
            )
        return given.model_copy(update={"attributes": attributes, "colour": colour})
    side = size // space.factor
    widths = (128, 192, 256) if side <= 16 else (128, 192, 256, 256)
    try:
        return Architecture(
            image_size=size,
            z_dim=256,
            patch=1,
            widths=tuple(max(8, 8 * math.ceil(w * width / 8)) for w in widths),
            embed=max(8, 8 * math.ceil(256 * width / 8)),
            encoder_width=max(8, 8 * math.ceil(64 * width / 8)),
            attributes=attributes,
            latent=space,
            colour=colour,
        )
    except ValidationError as error:
        raise DiffInfError(
            f"There is no network for {size} pixels on latents of {space.name}: {explain(error)}"
        ) from error


def _command(begin: str, given: dict[str, Any], start: Path | None, width: float) -> str:
    extra = "".join(f" --set {k}={v}" for k, v in given.items())
    extra += f" --start {start.name}" if start is not None else ""
    extra += f" --width {width:g}" if width != 1 else ""
    return begin + extra


def _refuse_finished(out: Path) -> None:
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
    settings = _settings(given, start)
    _refuse_finished(out)
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
    yield from _train(
        source, architecture, settings, out, data, _command(begin, given, start, width), start
    )


@under_seal
def train_on_run(
    run: Run, given: dict[str, Any], out: Path | None, start: Path | None, width: float
) -> Iterator[Progress]:
    """A generator for a run's own pictures: its training split only, never validation or test."""
    settings = _settings({"low_time_fraction": 0.75, **given}, start)
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
    _refuse_finished(target)
    note = f"{len(source)} of {len(train)} training pictures, {len(train) - len(source)} held out; "
    yield Progress("data", 1, 1, note + "validation and test pictures are left out")
    command = _command("diffinf train-generator --run RUN", given, start, width)
    with run.lock() if out is None and main_process() else nullcontext():
        yield from _train(source, architecture, settings, target, data, command, start)


@dataclass(frozen=True)
class LatentOptions:
    """How to train on latents.

    ``first_stage`` is a name, a path or "auto"; ``covariates`` are columns that an edit keeps, as it does the
    coarse ``colour``; ``trust`` is the fraction of labels to train on, None: by the noise made on purpose.
    """

    first_stage: str = "auto"
    covariates: tuple[str, ...] = ()
    colour: bool = True
    trust: float | None = None


@under_seal
def train_on_latents(
    run: Run,
    given: dict[str, Any],
    out: Path | None,
    start: Path | None,
    width: float,
    options: LatentOptions,
) -> Iterator[Progress]:
    """A generator on latents for a run's own pictures, conditioned on the labels that the ranking trusts."""
    settings = _settings({**ON_LATENTS, **given}, start)
    train = open_training(run)
    columns = tuple(covariate(train.table, column) for column in options.covariates)
    trust = trusted(run, train, options.trust)
    target = out or run.root / "generator"
    _refuse_finished(target)
    with run.lock() if main_process() else nullcontext():
        target.mkdir(parents=True, exist_ok=True)
        where = find_first_stage(options.first_stage)
        if where is None:
            raise DiffInfError(
                "No first stage is here: run 'diffinf weights fetch taef2', or give --first-stage."
            )
        if main_process():
            import_first_stage(where, target)
        stage = load_first_stage(target / BESIDE, "cuda" if torch.cuda.is_available() else "cpu")
        folder = run.stage("latents", VERSION, DATA.key(run), stage.sha256)
        yield from main_process_first(
            encode_latents(folder, stage, train.images, len(train), train.size)
        )
        latents = open_latents(folder)
        conditions = Conditions(
            np.where(trust, train.labels, -1), covariate_indices(train.table, columns)
        )
        source = LatentSource(latents, train, conditions, options.colour)
        attributes = (Attribute(name="label", classes=train.classes), *columns)
        architecture = latent_architecture(
            train.size, attributes, latents.space, options.colour, start, width
        )
        data = {
            "kind": "training split of a run, assigned labels; validation and test left out",
            "pictures": len(source),
            "ids": digest(train.ids.tolist()),
            "labels_trusted": f"{int(trust.sum())} of {len(trust)}, those of lowest {TRUST_SCORE}",
        }
        note = (
            f"{len(source)} of {len(train)} training pictures, {len(train) - len(source)} held out; "
            f"{int(trust.sum())} labels are trusted, the others are unknown to the training"
        )
        yield Progress("data", 1, 1, note)
        begin = f"diffinf train-generator --run RUN --first-stage {options.first_stage}"
        begin += "".join(f" --covariate {name}" for name in options.covariates)
        begin += "" if options.colour else " --no-colour"
        begin += "" if options.trust is None else f" --trust {options.trust:g}"
        command = _command(begin, given, start, width)
        yield from _train(source, architecture, settings, target, data, command, start, stage)


def train_on_pictures(
    folder: Path,
    out: Path,
    given: dict[str, Any],
    size: int,
    start: Path | None,
    width: float,
) -> Iterator[Progress]:
    """An unconditional generator, from every picture under a folder."""
    settings = _settings({"low_time_fraction": 0.75, **given}, start)
    _refuse_finished(out)
    architecture = architecture_for(size, (), start, width)
    yield from main_process_first(pack_pictures(folder, out / "pictures", size))
    source = PictureSource(np.load(out / "pictures" / "images.npy", mmap_mode="r"))
    data = {
        "kind": "every picture under a folder, no labels; keep validation and test pictures elsewhere",
        "pictures": len(source),
        "files": read_json(out / "pictures" / "pictures.json")["files"],
    }
    begin = f"diffinf train-generator --pictures {folder.name} --out {out.name} --size {size}"
    command = _command(begin, given, start, width)
    yield from _train(source, architecture, settings, out, data, command, start)
