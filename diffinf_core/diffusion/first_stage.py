"""First stages: frozen image autoencoders in whose latents a generator can work instead of on pixels.

A first stage is one safetensors file with a card beside it, whatever it was made from: the published files
of the TAESD family, a folder of the diffusers library, or a run's own pictures. Each generator keeps the file
that it was trained with beside its own weights (Rombach et al. 2022, "High-Resolution Image Synthesis with
Latent Diffusion Models").
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from diffinf_core.diffusion.diffusers_folder import (
    autoencoder_folder,
    build_autoencoder,
    read_autoencoder,
)
from diffinf_core.diffusion.small import SmallDecoder, SmallEncoder
from diffinf_core.diffusion.tiny import tiny_decoder, tiny_encoder
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import file_digest, read_json, read_tensors, write_json
from diffinf_core.weights.files import added_weights, card_of, load_weights, save_weights

#: name of the first stage beside a generator's weights
BESIDE = "first_stage.safetensors"
#: the published tiny autoencoders, in the order in which "auto" takes them
TINY = ("taef2", "taesd3", "taef1", "taesd")
_PARTS = ("encoder", "decoder")


class FirstStage(nn.Module):
    """A frozen image autoencoder.

    Pictures are (B, 3, S, S) in [-1, 1], latents (B, channels, S/factor, S/factor).
    """

    #: how the networks are built again: the "first_stage" entry of the card
    about: Mapping[str, Any]

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, about: Mapping[str, Any], sha256: str = ""
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.about, self.sha256 = about, sha256
        self.requires_grad_(False).eval()

    @property
    def channels(self) -> int:
        return int(self.about["channels"])

    @property
    def factor(self) -> int:
        """Pixels per latent cell and side."""
        return int(self.about["factor"])

    @property
    def name(self) -> str:
        return str(self.about["name"])

    def encode(self, x: Tensor) -> Tensor:
        """Latents of pictures, as the networks give them."""
        return self.encoder(_contiguous((x + 1) / 2))

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures of latents, in [-1, 1]."""
        return self.decoder(_contiguous(latents)).clamp(0, 1) * 2 - 1


def _contiguous(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def build(about: Mapping[str, Any], sha256: str = "") -> FirstStage:
    """A first stage with random weights, from the "first_stage" entry of its card."""
    try:
        family = about["family"]
        if family == "tiny":
            channels, pool = int(about["channels"]), bool(about["pool"])
            return FirstStage(
                tiny_encoder(channels, pool), tiny_decoder(channels, pool), about, sha256
            )
        if family == "diffusers":
            return FirstStage(*build_autoencoder(about), about, sha256)
        if family == "small":
            channels = int(about["channels"])
            return FirstStage(SmallEncoder(channels), SmallDecoder(channels), about, sha256)
    except KeyError as error:
        raise DiffInfError(f"The card of a first stage lacks {error}.") from error
    raise DiffInfError(f"Unknown family {family!r} of first stages; update DiffInf.")


def load_first_stage(file: Path, device: torch.device | str = "cpu") -> FirstStage:
    """Read a first stage, frozen; :class:`DiffInfError` for a missing, truncated or foreign file."""
    if not file.is_file():
        raise DiffInfError(f"The first stage {file} does not exist.")
    about = card_of(file).get("first_stage")
    if not isinstance(about, dict):
        raise DiffInfError(f"The card of {file} does not describe a first stage.")
    stage = build(about, file_digest(file))
    load_weights(file, stage)
    return stage.to(device)


def import_first_stage(source: Path, out: Path) -> Path:
    """Make ``out``/first_stage.safetensors of what others published, or of a first stage's file.

    ``source`` is such a file with its card, a safetensors file or a folder with the two networks of the
    TAESD family, or a folder of the diffusers library. Raises :class:`DiffInfError` for files that are none
    of these, are cut short, or do not belong together.
    """
    target = out / BESIDE
    if not source.exists():
        raise DiffInfError(f"The first stage {source} does not exist.")
    if source.is_dir() and (source / BESIDE).is_file():
        source = source / BESIDE
    card = source.with_suffix(".json")
    if source.is_file() and card.is_file() and "first_stage" in read_json(card):
        load_first_stage(source)
        return _copied(source, target)
    if source.is_dir() and (folder := autoencoder_folder(source)) is not None:
        about, encoder, decoder = read_autoencoder(folder)
        stage = FirstStage(encoder, decoder, about)
    else:
        stage = _tiny(*_tiny_state(source), source)
    save_weights(target, stage, {"network": "FirstStage", "first_stage": dict(stage.about)})
    return target


def find_first_stage(name: str) -> Path | None:
    """Where the weights lie that ``name`` asks for: a path, a name such as "taef2", or "auto" for any.

    None where "auto" finds none; :class:`DiffInfError` where another name does not.
    """
    if name != "auto" and (name not in TINY or Path(name).exists()):
        return Path(name)
    for tiny in TINY if name == "auto" else (name,):
        one = added_weights() / f"{tiny}.safetensors"
        if one.is_file():
            return one
        if (added_weights() / f"{tiny}_encoder.safetensors").is_file():
            return added_weights() / f"{tiny}_encoder.safetensors"
    if name == "auto":
        return None
    raise DiffInfError(
        f"The first stage {name} is not in {added_weights()}; run 'diffinf weights fetch {name}', or give "
        "the folder of its files."
    )


def _copied(source: Path, target: Path) -> Path:
    """The file and its card at ``target``, without a second copy of the data where the disk can do that."""
    card = target.with_suffix(".json")
    if target.exists() and card.exists() and file_digest(target) == file_digest(source):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    write_json(card, read_json(source.with_suffix(".json")))
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return target


def _tiny_state(source: Path) -> tuple[str, dict[str, Tensor]]:
    """Name, and tensors under "encoder." and "decoder.", of one file or of a pair of files."""
    if source.is_dir():
        pairs = sorted(source.glob("*_encoder.safetensors")) + sorted(source.glob("*_encoder.pth"))
        if len(pairs) != 1:
            what = f"{len(pairs)} files" if pairs else "no file"
            raise DiffInfError(
                f"{source} holds {what} *_encoder.safetensors; give the first stage's file."
            )
        (source,) = pairs
    stem, _, half = source.stem.rpartition("_")
    if half not in _PARTS:
        return source.stem, _tensors(source)
    state: dict[str, Tensor] = {}
    for part in _PARTS:
        file = source.with_name(f"{stem}_{part}{source.suffix}")
        state |= {f"{part}.{k}": v for k, v in _tensors(file).items()}
    return stem, state


def _tensors(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise DiffInfError(f"The first stage's file {file} does not exist.")
    if file.suffix == ".pth":
        return read_tensors(file)
    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise DiffInfError(
            f"The first stage's file {file} is cut short or no safetensors file; fetch it again."
        ) from error


def _tiny(name: str, state: Mapping[str, Tensor], source: Path) -> FirstStage:
    """A tiny autoencoder whose number of channels and variant are read off its tensors."""
    wrong = DiffInfError(
        f"{source} is no autoencoder of the TAESD family: encoder and decoder do not have its layers, "
        "or do not belong together."
    )
    stem = state.get("decoder.1.weight")
    if stem is None or stem.dim() != 4:
        raise wrong
    about = {
        "family": "tiny",
        "name": name,
        "channels": stem.shape[1],
        "factor": 8,
        "pool": any(".pool." in key for key in state),
    }
    stage = build(about)
    try:
        stage.load_state_dict({k: v.float() for k, v in state.items()})
    except RuntimeError as error:
        raise wrong from error
    return stage
