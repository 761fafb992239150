"""What a training takes over of a generator with other labels, covariates or inputs."""

from __future__ import annotations

from itertools import zip_longest

import torch
from torch import Tensor

from diffinf_core.diffusion.architecture import COLOUR, Architecture
from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder
from diffinf_core.diffusion.network import LABEL_FEATURES

_STEM, _TABLE = "unet.stem.weight", "unet.labels.{}.weight"
#: layers that read a code and the features of the labels after it
_OF_CODES = ("unet.code.0.weight", "unet.layout.weight")


def start_from(model: DiffusionAutoencoder, given: DiffusionAutoencoder) -> int:
    """Load what means the same in both; returns how many tensors of the model are left at random, or in part.

    Surroundings and a colour that the given network does not take begin without effect. An attribute is the
    same where its name and classes are, at the same place.
    """
    was, now = given.architecture, model.architecture
    own, theirs = model.state_dict(), given.state_dict()
    own.pop("regions", None)  # measured after the training
    changed = {i for i, (a, b) in enumerate(zip_longest(was.attributes, now.attributes)) if a != b}
    for i in changed:
        theirs.pop(_TABLE.format(i), None)
    if theirs[_STEM].shape[0] == own[_STEM].shape[0]:
        theirs[_STEM] = _fitted(own[_STEM], theirs[_STEM])
    incomplete = 0
    if was.z_dim == now.z_dim:
        for name in _OF_CODES:
            if len(theirs[name]) == len(own[name]):
                theirs[name] = _code_inputs(own[name], theirs[name], was, now, changed)
                incomplete += any(i < len(now.attributes) for i in changed)
    fitting = {k: v for k, v in theirs.items() if k in own and own[k].shape == v.shape}
    model.load_state_dict(fitting, strict=False)
    return len(own) - len(fitting) + incomplete


def _fitted(own: Tensor, given: Tensor) -> Tensor:
    """The given inputs of a layer, with zeros for further ones."""
    out, n = torch.zeros_like(own), min(own.shape[1], given.shape[1])
    out[:, :n] = given[:, :n]
    return out


def _code_inputs(
    own: Tensor, given: Tensor, was: Architecture, now: Architecture, changed: set[int]
) -> Tensor:
    """The inputs of a layer: the code's, and of the label features those of the same attributes."""
    out = own.clone()
    out[:, : now.z_dim] = given[:, : now.z_dim]
    if now.colour:
        colour = slice(now.z_dim, now.z_dim + COLOUR)
        out[:, colour] = given[:, colour] if was.colour else 0
    for i in range(len(now.attributes)):
        if i not in changed:
            a, b = (x.code_dim + LABEL_FEATURES * i for x in (now, was))
            out[:, a : a + LABEL_FEATURES] = given[:, b : b + LABEL_FEATURES]
    return out
