"""Train a generator on the latents of a run's photographs."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from diffinf_core.classifier.stage import load_snapshot
from diffinf_core.classifier.training import device
from diffinf_core.config import explain
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import Part, open_training, to_image, to_tensor
from diffinf_core.diffusion.architecture import Architecture, Attribute, LatentSpace
from diffinf_core.diffusion.assets import (
    command_line,
    make_settings,
    refuse_finished,
    train_and_publish,
)
from diffinf_core.diffusion.autoencoder import grey
from diffinf_core.diffusion.conditions import (
    TRUST_SCORES,
    Trust,
    covariate,
    covariate_indices,
    trusted,
)
from diffinf_core.diffusion.first_stage import (
    BESIDE,
    find_first_stage,
    import_first_stage,
    load_first_stage,
)
from diffinf_core.diffusion.latent_source import Conditions, LatentSource, find_pairs
from diffinf_core.diffusion.latents import VERSION, encode_latents, open_latents
from diffinf_core.diffusion.loading import load_autoencoder
from diffinf_core.diffusion.monitor import Judge
from diffinf_core.diffusion.own_first_stage import (
    CHECKPOINT,
    OWN,
    FirstStageTraining,
    is_own,
    own_first_stage,
    train_first_stage,
)
from diffinf_core.diffusion.processes import main_process, main_process_first
from diffinf_core.diffusion.settings import ON_LATENTS, GeneratorTraining
from diffinf_core.diffusion.sources import PictureSource
from diffinf_core.diffusion.speed import measured_precision
from diffinf_core.diffusion.unlabelled import (
    Unlabelled,
    UnlabelledFolder,
    unlabelled_files,
    unlabelled_table,
)
from diffinf_core.influence.checkpoints import checkpoint_epochs
from diffinf_core.influence.confidence import check_folds
from diffinf_core.influence.feature_confidence import FEATURE_CONFIDENCE
from diffinf_core.influence.stage import read_scores
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import digest, read_json, write_json
from diffinf_core.runs.run import Run
from diffinf_core.runs.scratch import scratch_folder
from diffinf_core.runs.seal import under_seal

#: beside the training state: what the networks compute in, measured once for a training, and for how long it
#: trains a first stage, if it does, which depends on the device that it begins on
_PRECISION, _OWN_BUDGET = "precision.json", "first_stage_minutes"
#: beside it: the scores that its labels are trusted by
_TRUST = "trust.json"
#: how long a first stage of one's own is trained, by device
_OWN_MINUTES = {"cpu": 8.0, "cuda": 1.0}


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


@dataclass(frozen=True)
class LatentOptions:
    """How to train on latents.

    ``first_stage`` is a name, a path, "own" for one that is trained on the run's pictures for
    ``first_stage_minutes`` (None: what suits the device), or "auto": a published one, and "own" where
    none is at hand. ``covariates`` are columns that an edit keeps, as it does the coarse ``colour``;
    ``trust`` is the fraction of the labels of each class to train on, None: estimated. ``unlabelled`` is a
    folder of further pictures of the same kind, to learn to draw from. ``confidence``: whether labels are
    trusted by the score ``feature_confidence``, which is computed where it is missing.
    """

    first_stage: str = "auto"
    covariates: tuple[str, ...] = ()
    colour: bool = True
    trust: float | None = None
    first_stage_minutes: float | None = None
    unlabelled: Path | None = None
    confidence: bool = True


def refuse_untrainable(given: dict[str, Any], options: LatentOptions) -> None:
    """Before anything is computed: :class:`DiffInfError` where the files of the first stage are missing or
    cannot be read, where a folder of unlabelled pictures has none, and for a setting that does not exist or
    is out of range."""
    make_settings({**ON_LATENTS, **given}, None)
    if options.unlabelled is not None:
        unlabelled_files(options.unlabelled)
        unlabelled_table(options.unlabelled)
    if (where := _published(options)) is not None:
        with scratch_folder() as scratch:
            import_first_stage(where, Path(scratch))


def _published(options: LatentOptions) -> Path | None:
    """Where the first stage lies that a training takes; None where it trains one of its own."""
    where = None if options.first_stage == OWN else find_first_stage(options.first_stage)
    if where is not None and options.first_stage_minutes and options.first_stage != "auto":
        raise DiffInfError(
            f"first_stage_minutes has no effect on the first stage {options.first_stage}; leave it out, or "
            "train one on these pictures by first_stage own."
        )
    return where


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
    with run.lock() if main_process() else nullcontext():
        yield from train_under_lock(run, given, out, start, width, options)


@under_seal
def train_under_lock(
    run: Run,
    given: dict[str, Any],
    out: Path | None,
    start: Path | None,
    width: float,
    options: LatentOptions,
) -> Iterator[Progress]:
    """:func:`train_on_latents` for who holds the lock of the run."""
    settings = make_settings({**ON_LATENTS, **given}, start)
    train = open_training(run)
    columns = tuple(covariate(train.table, column) for column in options.covariates)
    conditions = Conditions(train.labels, covariate_indices(train.table, columns), train.groups)
    if settings.pairs:  # if not even all labels give any, the trusted ones do not
        find_pairs(conditions, np.arange(len(train)))
    target = out or run.root / "generator"
    refuse_finished(target)
    read_scores(run)  # before anything is computed for a run that is not ranked
    further = None if options.unlabelled is None else UnlabelledFolder(run, options.unlabelled)
    if further is not None:
        yield from main_process_first(further.read())
    pictures = digest(DATA.key(run), train.ids.tolist())
    yield from main_process_first(_first_stage(options, target, train, settings, pictures))
    among: Sequence[tuple[str, ...]] = TRUST_SCORES if options.confidence else TRUST_SCORES[1:]
    begun = (target / "generator.ckpt").exists()
    if begun:  # whichever scores have come since
        file = target / _TRUST
        among = [tuple(read_json(file)["scores"])] if file.exists() else TRUST_SCORES[1:]
    elif options.confidence:
        yield from main_process_first(_confidence(run))
    trust = trusted(run, train, options.trust, columns, among)
    if main_process() and not begun:
        write_json(target / _TRUST, {"scores": list(trust.scores)})
    conditions = replace(conditions, labels=np.where(trust.trusted, train.labels, -1))
    if settings.pairs:
        find_pairs(conditions, np.arange(len(train)))
    stage = load_first_stage(target / BESIDE, device())
    precision = read_json(target / _PRECISION)["precision"]
    if device().type == "cpu":
        settings = settings.model_copy(update={"precision": precision})
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    made = stage.sha256, settings.copies, precision
    folder = run.stage("latents", VERSION, DATA.key(run), *made)
    yield from main_process_first(
        encode_latents(folder, stage, train.images, len(train), train.size, settings.copies, kind)
    )
    latents = open_latents(folder)
    more = None
    if further is not None:
        more = further.open(columns)
        folder = run.stage("latents", VERSION, further.key, latents.grey, *made)
        read = _in_grey(more.images) if latents.grey else more.images
        yield from main_process_first(
            encode_latents(folder, stage, read, len(more), train.size, settings.copies, kind)
        )
        latents = replace(latents, more=open_latents(folder))
        conditions = conditions.followed_by(more.covariates)
    source = LatentSource(
        latents, train, conditions, options.colour, settings.balance, settings.pairs
    )
    attributes = (Attribute(name="label", classes=train.classes), *columns)
    architecture = latent_architecture(
        train.size, attributes, latents.space, options.colour, start, width
    ).model_copy(
        update={
            "inpaints": settings.inpaint > 0,
            "label_alone": settings.z_dropout > 0,
            "grey": latents.grey,
        }
    )
    own = len(source) if more is None else len(source) - len(more)
    data: dict[str, Any] = {
        "kind": "training split of a run, assigned labels; validation and test left out",
        "pictures": own,
        "ids": digest(train.ids.tolist()),
        "trusted labels": _trust_text(trust, train),
    }
    kind_of = "grey training pictures" if latents.grey else "training pictures"
    note = f"{own} of {len(train)} {kind_of}, {len(train) - own} held out; "
    if further is not None and more is not None:
        known = digest(more.covariates.tolist())
        data["unlabelled"] = {"key": further.key, "covariates": known, **further.figures()}
        note += _unlabelled_text(more, further)
    yield Progress("data", 1, 1, f"{note}trusted labels: {_trust_text(trust, train)}")
    command = command_line(_begin(options), given, start, width)
    yield from train_and_publish(
        source, architecture, settings, target, data, command, start, stage, _judge(run)
    )
    if main_process():
        for name in (_PRECISION, _TRUST):
            (target / name).unlink(missing_ok=True)


def _confidence(run: Run) -> Iterator[Progress]:
    """The score that tells best which labels to trust, where it can be had."""
    try:
        check_folds(run)
    except DiffInfError as error:
        yield Progress("trust", 0, 1, f"labels are trusted by their losses: {error}")
        return
    for event in FEATURE_CONFIDENCE.compute(run, quiet=True):
        yield replace(event, stage="trust")


def _first_stage(
    options: LatentOptions, target: Path, train: Part, settings: GeneratorTraining, pictures: str
) -> Iterator[Progress]:
    """The first stage beside the generator to be, and the precision that a resumed training keeps."""
    where, file = _published(options), target / _PRECISION
    begun = read_json(file) if file.exists() else {}
    # what "auto" means can change between a kill and the resume
    there, unfinished = (target / BESIDE).exists(), (target / CHECKPOINT).exists()
    kept = options.first_stage == "auto" and (_OWN_BUDGET in begun or (bool(begun) and there))
    own = _OWN_BUDGET in begun if kept else where is None
    if own != (_OWN_BUDGET in begun) and (unfinished or (begun and there)):
        raise DiffInfError(
            f"{target} holds {'another' if own else 'its own'} first stage, of a training that was begun; "
            "remove that folder or give --out."
        )
    if where is not None and not kept:
        import_first_stage(where, target)
        if options.first_stage_minutes:
            note = "first_stage_minutes has no effect: a published first stage is here, and is used"
            yield Progress("first-stage", 0, 1, note)
    if own and not unfinished and there and not is_own(target / BESIDE):
        raise DiffInfError(
            f"{target} holds another first stage, of a training that was begun; move it away or give --out."
        )
    if begun and own != (_OWN_BUDGET in begun):
        begun = {}  # stopped before its first stage was there
    if not begun:
        precision: str = settings.precision
        if precision == "auto":
            yield Progress("latents", 0, 1, "measuring float32 and bfloat16")
            x = train.tensors(np.arange(min(4, len(train)))).to(device())
            stage = own_first_stage() if own else load_first_stage(target / BESIDE)
            precision = measured_precision(stage.to(device()), x)
        budget = {_OWN_BUDGET: _OWN_MINUTES[device().type]} if own else {}
        begun = {"precision": precision, **budget}
        write_json(file, begun)
    if not own:
        return
    if options.first_stage == "auto" and (unfinished or not there):
        note = "no published first stage is here ('diffinf weights fetch taef2'): training one"
        yield Progress("first-stage", 0, 1, note)
    training = FirstStageTraining(
        minutes=options.first_stage_minutes or begun.get(_OWN_BUDGET, _OWN_MINUTES[device().type]),
        precision="bfloat16" if begun["precision"] == "bfloat16" else "float32",
        seed=settings.seed,
    )
    yield from train_first_stage(PictureSource(train), target, training, pictures)


def _unlabelled_text(more: Unlabelled, further: UnlabelledFolder) -> str:
    """How many unlabelled pictures are drawn, what is known of them, and how many are left out."""
    figures = further.figures()
    out = f"{len(more)} unlabelled ones"
    if more.covariates.shape[1]:
        out += f", {int((more.covariates >= 0).any(1).sum())} of them with covariates"
    out += f"; left out are {figures['known']} that the run has"
    return f"{out} and {figures['bad']} that cannot be read; "


def _judge(run: Run) -> Judge | None:
    """The mean of the run's checkpoints from before they learn wrong labels by heart.

    They were trained on the labels that are in question, so they compare one step of a training with another,
    and do not say how good its edits are. None in processes that report nothing, and without checkpoints.
    """
    if not main_process():
        return None
    try:
        epochs = checkpoint_epochs(run)
        nets = [load_snapshot(run, epoch)[0].to(device()).eval() for epoch in epochs]
    except DiffInfError:  # a training does without
        return None

    @torch.no_grad()
    def probabilities(x: Tensor) -> Tensor:
        return torch.stack([net(x).float().softmax(1) for net in nets]).mean(0)

    return probabilities


def _in_grey(read: Callable[[NDArray[np.int64]], NDArray[np.uint8]]) -> Callable[..., Any]:
    """The same pictures without their colours."""
    return lambda positions: to_image(grey(to_tensor(read(positions))))


def _trust_text(trust: Trust, train: Part) -> str:
    """How many labels of each class are trained on, for the card."""
    kept = np.bincount(train.labels[trust.trusted], minlength=len(train.classes))
    of = np.bincount(train.labels, minlength=len(train.classes))
    each = (f"{name} {k} of {n}" for name, k, n in zip(train.classes, kept, of, strict=True))
    return f"{', '.join(each)}; those of lowest {trust.score}, the others count as unknown"


def _begin(options: LatentOptions) -> str:
    """The start of the command that trains the same again."""
    out = f"diffinf train-generator --run RUN --first-stage {Path(options.first_stage).name}"
    if options.first_stage_minutes is not None:
        out += f" --first-stage-minutes {options.first_stage_minutes:g}"
    out += "".join(f" --covariate {name}" for name in options.covariates)
    out += "" if options.colour else " --no-colour"
    if options.unlabelled is not None:
        out += f" --unlabelled {shlex.quote(options.unlabelled.resolve().name)}"
    return out + ("" if options.trust is None else f" --trust {options.trust:g}")
