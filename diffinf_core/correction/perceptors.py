"""The frozen networks behind the objective's terms, and the names that stand beside their scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.correction.networks import IdentityNet, ParsingNet, PerceptualTrunk
from diffinf_core.diffusion.autoencoder import Autoencoder
from diffinf_core.weights import load_weights, shipped


@dataclass(frozen=True)
class Perceptors:
    """Functions of pictures (B, 3, S, S) in [-1, 1]; None where a domain has no such network.

    ``identity`` gives unit vectors (B, D); ``parsing`` logits (B, parts, S, S); ``perceptual`` a
    list of activations.
    """

    identity: Callable[[Tensor], Tensor] | None
    identity_name: str
    parsing: Callable[[Tensor], Tensor] | None
    parsing_name: str
    perceptual: Callable[[Tensor], list[Tensor]]
    perceptual_name: str


def load_perceptors(
    kind: str, demo: bool, generator: Autoencoder, device: torch.device
) -> Perceptors:
    """The perceptors for a run; ``kind`` is ``repair.identity`` of the configuration.

    The demo's parser knows rendered faces only, so other pictures go without structure term.
    """
    trunk = load_weights(shipped("perceptual"), PerceptualTrunk()).to(device)
    if kind == "auto":
        kind = "demo" if demo else "z_sem"
    identity: Callable[[Tensor], Tensor] | None = None
    if kind == "demo":
        identity = load_weights(shipped("identity"), IdentityNet()).to(device)
    elif kind == "z_sem":

        def identity(x: Tensor) -> Tensor:
            return F.normalize(generator.encode(x), dim=1)

    names = {"demo": "demo identity net", "z_sem": "generator's z_sem", "none": "off"}
    parsing = load_weights(shipped("parsing"), ParsingNet()).to(device) if demo else None
    return Perceptors(
        identity=identity,
        identity_name=names[kind],
        parsing=parsing,
        parsing_name="demo parser" if demo else "off",
        perceptual=trunk,
        perceptual_name="demo perceptual trunk",
    )
