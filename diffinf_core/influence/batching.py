"""How many pictures fit into one pass of a network with gradients."""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: most pictures per pass: beyond this a CPU leaves its caches and a GPU is full anyway
MOST = {"cpu": 64, "cuda": 512}
#: fraction of the free memory that a pass may take
_SHARE = 0.25


def free_memory(device: torch.device) -> int:
    """Free bytes on a device; where the system does not say, one GiB."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 1 << 30


def bytes_per_sample(net: nn.Module, x: Tensor) -> int:
    """Bytes that autograd keeps for one of the samples x (N, ...), by counting them."""
    kept: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        kept[t.data_ptr()] = t.numel() * t.element_size()
        return t

    weights = {p.data_ptr() for p in net.parameters()}
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = net(x[:1].detach().requires_grad_(x.is_floating_point()))
        F.cross_entropy(out, torch.zeros(1, dtype=torch.long, device=out.device))
    return sum(size for place, size in kept.items() if place not in weights)


def fitting_batch(net: nn.Module, x: Tensor) -> int:
    """Pictures per pass, a power of two, that fit into a quarter of the free memory.

    Twice the kept activations: the way back holds about as much again.
    """
    device = next(net.parameters()).device
    room = _SHARE * free_memory(device) / max(1, 2 * bytes_per_sample(net, x.to(device)))
    return int(min(MOST.get(device.type, 64), 2 ** max(0, int(np.log2(max(1, room))))))
