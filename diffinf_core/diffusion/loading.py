"""Load a diffusion autoencoder: ours from safetensors and card, a published one from its checkpoint.

A published ``last.ckpt`` is a pickle. Only tensors and plain containers are read from it; a name of
its training framework is replaced by an empty stand-in, and any other name is refused before anything
runs.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from diffinf_core.config import explain
from diffinf_core.diffusion.architecture import Architecture
from diffinf_core.diffusion.autoencoder import Autoencoder, DiffusionAutoencoder
from diffinf_core.diffusion.first_stage import BESIDE, load_first_stage
from diffinf_core.diffusion.published import (
    PUBLISHED,
    PublishedArchitecture,
    PublishedAutoencoder,
)
from diffinf_core.records import DiffInfError
from diffinf_core.weights.files import card_of, load_weights, save_weights, shipped

AnyArchitecture = Architecture | PublishedArchitecture
#: whose classes a checkpoint may name; none is imported, an empty class stands in
_FRAMEWORK = ("pytorch_lightning.", "lightning.", "lightning_fabric.")
#: the weights of a generator in the folder that its training writes
WEIGHTS = "generator.safetensors"
_EMA, _RAW = "ema_model.", "model."


class _StandIn:
    """Takes the place of a class of the training framework."""

    def __init__(self, *_: object, **__: object) -> None:
        pass


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A Lightning checkpoint as plain data, memory-mapped where its format allows.

    Raises :class:`DiffInfError` for a missing, truncated or foreign file, and for one that names code
    other than the training framework's.
    """
    if not path.exists():
        raise DiffInfError(f"The checkpoint {path} does not exist.")
    try:
        zipped = zipfile.is_zipfile(path)
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path) if zipped else []
    except Exception as error:
        raise DiffInfError(f"{path} is not a readable checkpoint; fetch it again.") from error
    strange = [n for n in names if not n.startswith(_FRAMEWORK)]
    if strange:
        raise DiffInfError(
            f"{path} refers to {strange[0]!r}, which weights do not need and which could run code; "
            "the file is not opened."
        )
    try:
        with torch.serialization.safe_globals([(_StandIn, name) for name in names]):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:
        raise DiffInfError(
            f"{path} is not a readable checkpoint, or is cut short; fetch it again."
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), Mapping):
        raise DiffInfError(f"{path} holds no 'state_dict'; it is not a training checkpoint.")
    return checkpoint


def ema_weights(checkpoint: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The averaged weights of the autoencoder, without the latent prior that some files add."""
    state = checkpoint["state_dict"]
    weights = {
        key.removeprefix(_EMA): value
        for key, value in state.items()
        if key.startswith(_EMA) and not key.startswith(_EMA + "latent_net.")
    }
    if not weights:
        raise DiffInfError(
            f"{path} has no '{_EMA}*' weights; a diffusion autoencoder's last.ckpt has them."
        )
    return weights


def _from_options(options: object) -> PublishedArchitecture | None:
    """The architecture that the checkpoint's own options describe, if they do."""
    conf = options.get("model_conf") if isinstance(options, Mapping) else None
    if not isinstance(conf, Mapping):
        return None
    try:
        return PublishedArchitecture(
            image_size=conf["image_size"],
            channels=conf["model_channels"],
            multipliers=tuple(conf["channel_mult"]),
            encoder_multipliers=tuple(conf["enc_channel_mult"]),
            res_blocks=conf["num_res_blocks"],
            encoder_res_blocks=conf["enc_num_res_block"],
            attention_at=tuple(conf["attention_resolutions"]),
            heads=conf["num_heads"],
            embed=conf["embed_channels"],
            z_dim=conf["enc_out_channels"],
        )
    except (KeyError, TypeError, ValidationError):
        return None


def _fits(architecture: PublishedArchitecture, weights: Mapping[str, Tensor]) -> str | None:
    """None, or the first name in which weights and architecture differ."""
    with torch.device("meta"):
        wanted = PublishedAutoencoder(architecture).state_dict()
    for name in sorted(wanted.keys() | weights.keys()):
        if name not in weights:
            return f"{name} is missing"
        if name not in wanted:
            return f"{name} is not part of it"
        if wanted[name].shape != weights[name].shape:
            return f"{name} is {tuple(weights[name].shape)} instead of {tuple(wanted[name].shape)}"
    return None


def recognise(weights: Mapping[str, Tensor], options: object, path: Path) -> PublishedArchitecture:
    """The published architecture whose names and shapes these weights have, every one of them."""
    own = _from_options(options)
    candidates = ([own] if own else []) + list(PUBLISHED.values())
    problems = [_fits(a, weights) for a in candidates]
    for architecture, problem in zip(candidates, problems, strict=True):
        if problem is None:
            return architecture
    raise DiffInfError(
        f"{path} is none of {', '.join(PUBLISHED)}: {problems[0]}; give its architecture."
    )


def _published(
    path: Path, architecture: PublishedArchitecture | None, device: torch.device | str
) -> PublishedAutoencoder:
    checkpoint = read_checkpoint(path)
    weights = ema_weights(checkpoint, path)
    if architecture is None:
        architecture = recognise(weights, checkpoint.get("hyper_parameters"), path)
    elif problem := _fits(architecture, weights):
        raise DiffInfError(f"{path} does not fit the given architecture: {problem}.")
    model = PublishedAutoencoder(architecture)
    model.load_state_dict(weights, strict=True)
    return model.eval().requires_grad_(False).to(device)


def _architecture_of(path: Path) -> AnyArchitecture:
    try:
        given = card_of(path)["architecture"]
        kind = PublishedArchitecture if given.get("family") == "diffae" else Architecture
        return kind(**given)
    except (KeyError, TypeError, AttributeError) as error:
        raise DiffInfError(f"The card of {path} does not describe an architecture.") from error
    except ValidationError as error:
        raise DiffInfError(f"The card of {path}: {explain(error)}") from error


def keeps_covariates(path: Path) -> bool:
    """Whether the card of a generator's weights names attributes that an edit keeps; no weights are read.

    Raises :class:`DiffInfError` for a missing or damaged card.
    """
    if path.suffix != ".safetensors":
        return False
    architecture = _architecture_of(path)
    return isinstance(architecture, Architecture) and any(
        attribute.covariate for attribute in architecture.attributes
    )


def weights_file(path: Path) -> Path:
    """The file of a generator's weights, there or not: a folder stands for the one that training left."""
    return path / WEIGHTS if path.is_dir() else path


def existing_weights(path: Path) -> Path:
    """:func:`weights_file`; :class:`DiffInfError` where it is not there."""
    file = weights_file(path)
    if file.is_file():
        return file
    if file == path:
        raise DiffInfError(f"The generator {path} does not exist.")
    raise DiffInfError(
        f"The folder {path} holds no {WEIGHTS}, which a finished training leaves there; give the file of the "
        "generator's weights."
    )


def load_autoencoder(
    path: str | Path | None = None,
    architecture: AnyArchitecture | str | None = None,
    device: torch.device | str = "cpu",
) -> Autoencoder:
    """A frozen generator in evaluation mode.

    ``path`` is a safetensors file with its card beside it, the folder that its training wrote, a published
    Lightning ``last.ckpt``, or None for the generator that ships, which draws rendered faces of 64 pixels.
    ``architecture`` is an object, a name of :data:`PUBLISHED`, or None: then it comes from the card, or is
    recognised by the names and shapes in the checkpoint. Raises :class:`DiffInfError` for a missing,
    corrupt, foreign or hostile file.
    """
    model: Autoencoder
    path = shipped("generator") if path is None else existing_weights(Path(path))
    if isinstance(architecture, str):
        if architecture not in PUBLISHED:
            raise DiffInfError(
                f"Unknown architecture {architecture!r}; choose one of {', '.join(PUBLISHED)}."
            )
        architecture = PUBLISHED[architecture]
    if path.suffix != ".safetensors":
        if isinstance(architecture, Architecture):
            raise DiffInfError(f"{path} is no safetensors file, which that architecture needs.")
        model = _published(path, architecture, device)
        model.file = path
        return model
    architecture = architecture or _architecture_of(path)
    if isinstance(architecture, PublishedArchitecture):
        model = PublishedAutoencoder(architecture)
    else:
        model = DiffusionAutoencoder(architecture)
    load_weights(path, model)
    if isinstance(model, DiffusionAutoencoder) and model.architecture.latent is not None:
        _attach(model, path)
    model.file = path
    return model.to(device)


def _attach(model: DiffusionAutoencoder, path: Path) -> None:
    """Give a generator on latents the first stage that lies beside it."""
    space = model.architecture.latent
    assert space is not None
    if not (path.parent / BESIDE).is_file():
        raise DiffInfError(
            f"{path} works on latents of {space.name}, and its {BESIDE} is not beside it; copy that file and "
            "its card from where the generator was trained."
        )
    try:
        model.attach(load_first_stage(path.parent / BESIDE))
    except DiffInfError as error:
        raise DiffInfError(f"{path}: {error}") from error


def convert(source: Path, target: Path, architecture: str | None = None) -> PublishedArchitecture:
    """Keep the averaged weights of a published checkpoint as safetensors with a card: a quarter in size."""
    if target.suffix != ".safetensors":
        raise DiffInfError(f"The converted weights {target} must end in .safetensors.")
    source = weights_file(source)
    if source.suffix == ".safetensors":
        raise DiffInfError(f"{source} is safetensors already; use it as it is.")
    model = load_autoencoder(source, architecture)
    assert isinstance(model, PublishedAutoencoder)
    card = {
        "name": target.stem,
        "source": f"converted from {source.name}, averaged (EMA) weights",
        "architecture": model.architecture.model_dump(mode="json"),
    }
    save_weights(target, model, card, half=False)
    return model.architecture
