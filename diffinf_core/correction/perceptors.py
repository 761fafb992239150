"""The frozen networks behind the objective's terms, and the names that stand beside their scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.config import RepairConfig
from diffinf_core.correction.faces import (
    NAMES,
    SEGFORMER_OUTSIDE,
    build,
    present,
    weights_file,
)
from diffinf_core.correction.networks import IdentityNet, ParsingNet, PerceptualTrunk
from diffinf_core.data.rendered.faces import BACKGROUND
from diffinf_core.diffusion.autoencoder import Autoencoder
from diffinf_core.runs.files import file_digest
from diffinf_core.weights.files import load_weights, shipped
from diffinf_core.weights.lpips import LEAST_SIDE, LpipsAlex


@dataclass(frozen=True)
class Perceptors:
    """Functions of pictures (B, 3, S, S) in [-1, 1]; None where a domain has no such network.

    ``identity`` gives unit vectors (B, D); ``parsing`` logits (B, parts, S, S); ``perceptual`` a
    list of activations (B, C, H, W), scaled so that their squared distance, summed over channels,
    averaged over pixels and summed over the list, is the perceptual distance.
    """

    identity: Callable[[Tensor], Tensor] | None
    identity_name: str
    parsing: Callable[[Tensor], Tensor] | None
    parsing_name: str
    perceptual: Callable[[Tensor], list[Tensor]]
    perceptual_name: str
    #: which parts of the parsing are not the person
    outside: tuple[int, ...] = ()


#: demo networks by kind of term, with their names
_DEMO = {
    "identity": ("identity", "demo identity net"),
    "parsing": ("parsing", "demo parser"),
    "perceptual": ("perceptual", "demo perceptual trunk"),
}
#: the shipped LPIPS with AlexNet
LPIPS = "lpips-alex"


def chosen(config: RepairConfig, own: Mapping[str, str], side: int) -> dict[str, str]:
    """Which network serves identity, parsing and perceptual distance: "auto" resolved.

    ``own`` maps a term to the data set's own network (:attr:`Profile.perceptors`). Without one it is the
    published network that is in its place, else the generator's code for identity and no parser. The
    perceptual distance of pictures of ``side`` pixels is LPIPS, and the demo's trunk where they are too
    small for it.
    """
    out = {
        "identity": config.identity,
        "parsing": config.parsing,
        "perceptual": config.perceptual,
    }
    photographs = {
        "identity": next((kind for kind in ("facenet", "dlib") if present(kind)), "z_sem"),
        "parsing": "segformer" if present("segformer") else "none",
        "perceptual": LPIPS if side >= LEAST_SIDE else "demo",
    }
    return {
        term: own.get(term, photographs[term]) if kind == "auto" else kind
        for term, kind in out.items()
    }


def files_of(kinds: dict[str, str]) -> list[Path]:
    """The weight files behind a choice, for keys and provenance."""
    out = []
    for term, kind in sorted(kinds.items()):
        if kind == "demo":
            out.append(shipped(_DEMO[term][0]))
        elif kind == LPIPS:
            out.append(shipped("lpips"))
        elif kind in NAMES:
            out.append(weights_file(kind))
    return out


def identity_key(kind: str, crop: float, generator_key: str) -> list[object]:
    """What the vectors of an identity network depend on."""
    files = [file_digest(file) for file in files_of({"identity": kind})]
    return [kind, crop, files, generator_key if kind == "z_sem" else None]


class _Normalised(nn.Module):
    """The demo's trunk with activations of unit length per pixel: LPIPS without learned weights."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, x: Tensor) -> list[Tensor]:
        return [F.normalize(f, dim=1) for f in self.trunk(x)]


def identity_network(kind: str, device: torch.device, crop: float = 1.0) -> nn.Module | None:
    """The identity network of a kind, which gives unit vectors (B, D); None for a kind that has none."""
    if kind == "demo":
        return load_weights(shipped("identity"), IdentityNet()).to(device)
    return build(kind, crop).to(device) if kind in NAMES else None


def load_perceptors(
    kinds: dict[str, str], generator: Autoencoder, device: torch.device, crop: float = 1.0
) -> Perceptors:
    """The perceptors of a choice as :func:`chosen` gives it.

    Raises :class:`DiffInfError` where a published network is asked for and not in its place.
    """
    kind = kinds["identity"]
    identity: Callable[[Tensor], Tensor] | None = identity_network(kind, device, crop)
    if kind == "z_sem":

        def identity(x: Tensor) -> Tensor:
            return F.normalize(generator.encode(x), dim=1)

    parsing: Callable[[Tensor], Tensor] | None = None
    if kinds["parsing"] == "demo":
        parsing = load_weights(shipped("parsing"), ParsingNet()).to(device)
    elif kinds["parsing"] in NAMES:
        parsing = build(kinds["parsing"]).to(device)
    if kinds["perceptual"] == "demo":
        trunk = load_weights(shipped("perceptual"), PerceptualTrunk())
        perceptual: nn.Module = _Normalised(trunk).to(device)
    elif kinds["perceptual"] == LPIPS:
        perceptual = load_weights(shipped("lpips"), LpipsAlex()).to(device)
    else:
        perceptual = build(kinds["perceptual"]).to(device)
    return Perceptors(
        identity=identity,
        identity_name=_name("identity", kind),
        parsing=parsing,
        parsing_name=_name("parsing", kinds["parsing"]),
        perceptual=perceptual,
        perceptual_name=_name("perceptual", kinds["perceptual"]),
        outside={"demo": (BACKGROUND,), "segformer": SEGFORMER_OUTSIDE}.get(kinds["parsing"], ()),
    )


def _name(term: str, kind: str) -> str:
    if kind in NAMES:
        return NAMES[kind][0]
    if kind == "demo":
        return _DEMO[term][1]
    return {LPIPS: "LPIPS-Alex v0.1", "z_sem": "generator's z_sem", "none": "off"}[kind]
