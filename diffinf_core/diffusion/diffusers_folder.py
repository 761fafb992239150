"""First stages in folders of the diffusers library: its AutoencoderKL and AutoencoderTiny."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffinf_core.records import DiffInfError
from diffinf_core.runs.extras import optional_imports
from diffinf_core.runs.files import read_json

#: the classes that are read, as config.json names them
CLASSES = ("AutoencoderKL", "AutoencoderTiny")
_CONFIG, _WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
#: side in pixels of the empty picture that shows how much smaller latents are
_PROBE = 64


class _Encoder(nn.Module):
    """Pictures in [0, 1] to latents; of a distribution its mean. Here and below ``quant`` is None where the
    network has no such layer."""

    def __init__(self, network: nn.Module, quant: nn.Module | None, distribution: bool) -> None:
        super().__init__()
        self.network, self.quant, self._distribution = network, quant, distribution

    def forward(self, x: Tensor) -> Tensor:
        z = self.network(x * 2 - 1)
        z = z if self.quant is None else self.quant(z)
        return z.chunk(2, 1)[0] if self._distribution else z


class _Decoder(nn.Module):
    """Latents to pictures in [0, 1]."""

    def __init__(self, network: nn.Module, quant: nn.Module | None) -> None:
        super().__init__()
        self.network, self.quant = network, quant

    def forward(self, z: Tensor) -> Tensor:
        z = z if self.quant is None else self.quant(z)
        return (self.network(z) + 1) / 2


def autoencoder_folder(source: Path) -> Path | None:
    """The folder of an autoencoder that diffusers saved: ``source``, or the "vae" in that of a pipeline."""
    for folder in (source, source / "vae"):
        config = folder / _CONFIG
        if config.is_file() and _config(config).get("_class_name") in CLASSES:
            return folder
    return None


def read_autoencoder(folder: Path) -> tuple[dict[str, Any], nn.Module, nn.Module]:
    """What its card says, encoder and decoder of an :func:`autoencoder_folder`.

    Raises :class:`DiffInfError` where diffusers is not installed, and for files that are missing, cut
    short, or do not fit the configuration.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config, file = _config(folder / _CONFIG), folder / _WEIGHTS
    if not file.is_file():
        raise DiffInfError(
            f"{folder} holds no {_WEIGHTS}; save the autoencoder with safe_serialization, in one file."
        )
    about = {
        "family": "diffusers",
        "name": folder.parent.name if folder.name == "vae" else folder.name,
        "class": config["_class_name"],
        "config": {k: v for k, v in config.items() if not k.startswith("_")},
    }
    network = _network(about)
    try:
        network.load_state_dict({k: v.float() for k, v in load_file(file).items()})
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise DiffInfError(
            f"The first stage's file {file} is cut short, or does not fit the {_CONFIG} beside it; "
            "fetch both again."
        ) from error
    encoder, decoder = _parts(network)
    x = torch.zeros(1, 3, _PROBE, _PROBE)
    with torch.no_grad(), _buildable(about):
        z = encoder.eval()(x)
        if decoder.eval()(z).shape != x.shape:
            raise ValueError("it does not give pictures of three channels back")
    return {**about, "channels": z.shape[1], "factor": _PROBE // z.shape[2]}, encoder, decoder


def build_autoencoder(about: Mapping[str, Any]) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder with random weights, from what :func:`read_autoencoder` says of them."""
    return _parts(_network(about))


def _config(file: Path) -> Mapping[str, Any]:
    try:
        found = read_json(file, 1_000_000)
    except DiffInfError as error:
        raise DiffInfError(
            f"{file} is no readable JSON; save or fetch that folder again."
        ) from error
    return found if isinstance(found, dict) else {}


@contextmanager
def _buildable(about: Mapping[str, Any]) -> Iterator[None]:
    """Around what a configuration of others decides, in which anything can be wrong."""
    try:
        yield
    except Exception as error:
        raise DiffInfError(
            f"The installed diffusers cannot build {about['name']} from its {_CONFIG}: "
            f"{' '.join(str(error).split())}"
        ) from error


def _network(about: Mapping[str, Any]) -> nn.Module:
    with optional_imports():
        import diffusers
    if about["class"] not in CLASSES:
        raise DiffInfError(
            f"{about['class']!r} is no first stage; use one of {', '.join(CLASSES)}."
        )
    build = getattr(diffusers, about["class"])
    known = inspect.signature(
        build
    ).parameters  # a stored configuration can hold what is derived, too
    with _buildable(about):
        return build(**{k: v for k, v in about["config"].items() if k in known})


def _parts(network: nn.Module) -> tuple[nn.Module, nn.Module]:
    quant = getattr(network, "quant_conv", None), getattr(network, "post_quant_conv", None)
    assert isinstance(network.encoder, nn.Module) and isinstance(network.decoder, nn.Module)
    distribution = type(network).__name__ == "AutoencoderKL"
    return _Encoder(network.encoder, quant[0], distribution), _Decoder(network.decoder, quant[1])
