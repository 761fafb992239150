"""The generator that a run trains by itself before the repair, where its settings ask for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from diffinf_core.config import RunConfig
from diffinf_core.correction.guidance import refuse_settings
from diffinf_core.correction.repairer import find_generator
from diffinf_core.data.part import open_training
from diffinf_core.data.profile import profile
from diffinf_core.diffusion.conditions import covariate
from diffinf_core.diffusion.loading import load_autoencoder
from diffinf_core.diffusion.on_latents import (
    LatentOptions,
    refuse_untrainable,
    train_under_lock,
)
from diffinf_core.diffusion.settings import BY_DEVICE
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import read_json, write_json
from diffinf_core.runs.run import Run

#: the name under which its progress is shown
TRAINING = "train-generator"
#: beside the training state: what suited the device that a training began on, which it keeps on another
_DEVICE = "device.json"
#: what earlier versions trained with, which did not write it there
_FORMERLY: dict[str, dict[str, Any]] = {
    "cpu": {"minutes": 60.0},
    "cuda": {"minutes": 10.0, "batch_size": 128},
}
#: side of the pictures that the batches on a GPU are meant for
_BATCHED_SIZE = 128
_Before = Mapping[str, Callable[[Run], Iterator[Progress]]]


def shortfall(config: RunConfig) -> str | None:
    """Why a new run could not train the generator that its settings ask for; None where it could."""
    if not config.generator.train or config.repair.generator or profile(config.data).generator:
        return None
    try:
        _refuse_untrainable(config)
    except DiffInfError as error:
        return str(error)
    return None


def before_repair(run: Run) -> _Before:
    """What is done besides the stages of a run that is repaired, by the stage that it comes before.

    Nothing where it has a generator or is not to train one. Raises :class:`DiffInfError` where the training
    could not begin, or where the generator cannot edit by the method, before anything is computed.
    """
    found = find_generator(run)
    c = run.config.repair
    if found is not None and (c.method == "inpaint" or c.without_code or c.covariate_guidance):
        refuse_settings(c, load_autoencoder(found))
    if found is not None or not run.config.generator.train:
        return {}
    _refuse_untrainable(run.config)
    # columns are known once the data are read; whether they will do is known before anything is trained
    return {"classifier": _check_covariates, "repair": _train}


def trained(run: Run) -> bool | None:
    """Whether the generator that a run trains by itself is there; None where it trains none."""
    config = run.config
    if not config.generator.train or config.repair.generator or profile(config.data).generator:
        return None
    return find_generator(run) is not None


def _options(config: RunConfig) -> LatentOptions:
    c = config.generator
    return LatentOptions(
        c.first_stage,
        c.covariates,
        c.colour,
        c.trust,
        c.first_stage_minutes,
        c.unlabelled,
        c.confidence,
    )


def _settings(
    config: RunConfig, device: str, usual: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The settings of the training: the run's own over what suits the device, or over ``usual``."""
    c = config.generator
    usual = _suiting(config, device) if usual is None else dict(usual)
    if "steps" in c.training:  # a number of steps in place of a time budget
        del usual["minutes"]
    own = {} if c.minutes is None else {"minutes": c.minutes}
    return {**usual, **c.training, **own}


def _suiting(config: RunConfig, device: str) -> dict[str, Any]:
    """What suits a kind of device; larger pictures are trained on in batches that need as much memory."""
    usual = dict(BY_DEVICE[device])
    times = (config.data.image_size / _BATCHED_SIZE) ** 2
    if "batch_size" in usual and times > 1:
        usual["batch_size"] = max(8, round(usual["batch_size"] / times))
    return usual


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _refuse_untrainable(config: RunConfig) -> None:
    given = _settings(config, _device())
    refuse_untrainable(given, _options(config))
    if config.repair.method == "inpaint" and given.get("inpaint") == 0:
        raise DiffInfError(
            "generator.training.inpaint=0 trains a generator that repair.method=inpaint cannot use; leave it "
            "out, or set repair.method=guided."
        )
    if given.get("pairs") and not profile(config.data).group_column:
        raise DiffInfError(
            "generator.training.pairs needs a column of identities: name it by data.group_column, or leave "
            "it out."
        )
    c = config.repair
    if c.covariate_guidance and not config.generator.covariates:
        raise DiffInfError(
            "repair.covariate_guidance has nothing to keep: name columns by --covariate, or leave it out."
        )
    if (c.without_code or c.covariate_guidance) and given.get(
        "z_dropout", given.get("z_blank")
    ) == 0:
        raise DiffInfError(
            "generator.training.z_dropout=0 trains a generator that does not know a label without a code; "
            "leave it out, or set repair.without_code=0 and repair.covariate_guidance=0."
        )


def _check_covariates(run: Run) -> Iterator[Progress]:
    table = open_training(run).table
    for column in run.config.generator.covariates:
        covariate(table, column)
    yield from ()


def _train(run: Run) -> Iterator[Progress]:
    run.store()
    began, folder = time.perf_counter(), run.root / "generator"
    file = folder / _DEVICE
    if not file.exists() or not (folder / "generator.ckpt").exists():
        write_json(file, {"device": _device(), "usual": _suiting(run.config, _device())})
    begun = read_json(file)
    usual = begun.get("usual", _FORMERLY[begun["device"]])
    given = _settings(run.config, begun["device"], usual)
    budget = f" for about {given['minutes']:g} minutes" if "minutes" in given else ""
    note = f"training on the trusted labels{budget}; {folder / 'curve.html'} shows how it goes"
    yield Progress(TRAINING, 0, 1, note)
    yield from train_under_lock(run, given, None, None, 1.0, _options(run.config))
    file.unlink()
    yield Progress(TRAINING, 1, 1, f"done in {time.perf_counter() - began:.0f} s")
