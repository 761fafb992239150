"""A map over sample positions in slices: each slice has its own file and knows nothing of the others.

A kill loses the slice under way and no more; slices can be computed anywhere and in any order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import read_json, write_array, write_json
from diffinf_core.runs.run import StageFolder

#: most samples per slice on a CPU
SLICE = 64
#: pixels times checkpoints per slice: half a minute of ResNet-18 on one core
_SLICE_WORK = 64 * 128 * 128 * 10
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


def slice_size(pixels: int, checkpoints: int) -> int:
    """Samples per slice, by counted work, so that a kill costs less than a minute on one core."""
    return int(min(SLICE, max(1, _SLICE_WORK // max(1, pixels * checkpoints))))


@dataclass(frozen=True)
class Plan:
    """How a stage is cut up: samples per slice and per pass."""

    slice_size: int
    batch_size: int


def stored_plan(stage: StageFolder, size: int, choose: Callable[[], int]) -> Plan:
    """The plan a stage began with, so that a resumed one makes the same slices and the same passes."""
    file = stage / "plan.json"
    if not file.exists():
        batch = max(1, int(choose()))
        write_json(file, {"slice_size": max(size, batch), "batch_size": batch})
    return Plan(**read_json(file))


def map_slices(
    stage: StageFolder, n: int, size: int, score: Score, note: Callable[[], str]
) -> Iterator[Progress]:
    """Compute the slices that are missing; ``score`` maps positions (k,) to rows (k, ...).

    Raises :class:`DiffInfError` where a pass does not fit into memory.
    """
    starts = range(0, n, size)
    missing = [s for s in starts if not (stage / f"slice-{s:08d}.npy").exists()]
    done = n - sum(min(s + size, n) - s for s in missing)
    # What is there already is one event, so that it does not pass for speed.
    yield Progress("influence", done, n, note())
    for start in missing:
        rows = np.arange(start, min(start + size, n))
        try:
            found = score(rows)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise DiffInfError(
                "Scoring does not fit into memory; set a smaller influence.batch_size "
                "(finished slices are kept)."
            ) from error
        write_array(stage / f"slice-{start:08d}.npy", found)
        done += len(rows)
        yield Progress("influence", done, n, note())


def read_slices(stage: StageFolder, n: int, size: int) -> NDArray[np.float64]:
    """All slices together, in training order."""
    return np.concatenate([np.load(stage / f"slice-{s:08d}.npy") for s in range(0, n, size)])
