"""A map over sample positions in slices: each slice has its own file and knows nothing of the others.

A kill loses the slice under way and no more; slices can be computed anywhere and in any order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.records import Progress
from diffinf_core.store import StageFolder, read_json, write_array, write_json

#: fewest samples per slice; at 128 pixels and ten checkpoints about half a minute on one core
SLICE = 64
#: most pictures per pass: beyond this a CPU leaves its caches and a GPU is full anyway
MOST = {"cpu": 64, "cuda": 512}
#: share of the free memory that a pass may take
_SHARE = 0.25

Score = Callable[[NDArray[np.int64]], NDArray[np.float64]]


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


def stored_batch(stage: StageFolder, choose: Callable[[], int]) -> int:
    """The batch size a stage began with, so that a resumed one makes the same slices."""
    plan = stage / "plan.json"
    if not plan.exists():
        write_json(plan, {"batch_size": int(choose())})
    return int(read_json(plan)["batch_size"])


def map_slices(
    stage: StageFolder, n: int, batch: int, score: Score, note: str
) -> Iterator[Progress]:
    """Compute the slices that are missing; ``score`` maps positions (k,) to rows (k, ...)."""
    size = max(SLICE, batch)
    for start in range(0, n, size):
        file = stage / f"slice-{start:08d}.npy"
        if not file.exists():
            write_array(file, score(np.arange(start, min(start + size, n))))
        yield Progress("influence", min(start + size, n), n, note)


def read_slices(stage: StageFolder, n: int, batch: int) -> NDArray[np.float64]:
    """All slices together, in training order."""
    size = max(SLICE, batch)
    return np.concatenate([np.load(stage / f"slice-{s:08d}.npy") for s in range(0, n, size)])
