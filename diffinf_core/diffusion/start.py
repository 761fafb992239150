"""The weights that a training begins with, of a generator with other labels, covariates or inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from diffinf_core.diffusion.autoencoder import COLOUR, Architecture, DiffusionAutoencoder

_STEM = "unet.stem.weight"
#: layers that read a code, with the features of the labels after it
_OF_CODES = ("unet.code.0.weight", "unet.layout.weight")


def start_weights(given: DiffusionAutoencoder, architecture: Architecture) -> dict[str, Tensor]:
    """The weights of ``given`` that mean the same in a network of another ``architecture``.

    Surroundings that the given network does not take begin without effect, and so does a colour. Where
    the attributes differ the weights of their features begin at random, and so do the embeddings of those
    that have not the same name and classes at the same place.
    """
    was, out = given.architecture, dict(given.state_dict())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        wanted = DiffusionAutoencoder(architecture).state_dict()
    n = out[_STEM].shape[1]
    if n < wanted[_STEM].shape[1] and len(out[_STEM]) == len(wanted[_STEM]):
        wider = torch.zeros_like(wanted[_STEM])
        wider[:, :n] = out[_STEM]
        out[_STEM] = wider
    if (was.attributes, was.colour) != (architecture.attributes, architecture.colour):
        same = was.z_dim + (COLOUR if was.colour and architecture.colour else 0)
        for name in _OF_CODES:
            if was.z_dim == architecture.z_dim and len(out[name]) == len(wanted[name]):
                other = torch.zeros_like(wanted[name])
                other[:, :same] = out[name][:, :same]
                # labels must have some effect before they can learn one
                other[:, architecture.code_dim :] = wanted[name][:, architecture.code_dim :]
                out[name] = other
        for i, attribute in enumerate(was.attributes):
            if architecture.attributes[i : i + 1] != (attribute,):
                del out[f"unet.labels.{i}.weight"]
    out.pop("regions", None)
    if "regions" in wanted:
        out["regions"] = wanted["regions"]
    return out
