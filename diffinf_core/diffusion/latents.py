"""Training pictures as latents: encoded once, kept as float16 with mirrored copies, read by memory map.

Mirrored pictures are encoded apart, because the latents of a mirrored picture are not the mirrored latents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from diffinf_core.data.part import to_tensor
from diffinf_core.diffusion.autoencoder import COLOUR, LatentSpace, coarse_colour
from diffinf_core.diffusion.first_stage import FirstStage
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import create_array, read_json, write_json
from diffinf_core.runs.run import StageFolder

#: version of this encoding: raise it when the same first stage gives other latents
VERSION = 1
_LATENTS, _COLOURS, _PLACE = "latents.npy", "colours.npy", "encoded.json"
_BATCH = 16
#: batches between flushes to the disk: what a kill can cost
_FLUSH_EVERY = 8


@dataclass(frozen=True)
class Latents:
    """Latents (N, 2, C, s, s) float16 of N pictures and of their mirrored copies, as the first stage gives
    them; ``colours`` (N, 3) float32 in [-1, 1]; ``space`` says how they are normalised."""

    values: NDArray[np.float16]
    colours: NDArray[np.float32]
    space: LatentSpace


@torch.no_grad()
def encode_latents(
    folder: StageFolder,
    stage: FirstStage,
    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]],
    count: int,
    size: int,
) -> Iterator[Progress]:
    """Encode ``count`` pictures into a folder, unless they are there; resumes where it was killed.

    ``read`` gives pictures (B, size, size, 3) uint8 at positions. Raises :class:`DiffInfError` for a size
    that the first stage cannot divide, for latents that are not finite, and where the disk is full.
    """
    if folder.done:
        return
    if size % stage.factor:
        raise DiffInfError(
            f"Pictures of {size} pixels cannot be encoded by {stage.name}: the side must be divisible by "
            f"{stage.factor}."
        )
    side = size // stage.factor
    folder.path.mkdir(parents=True, exist_ok=True)
    place = folder / _PLACE
    if not place.exists():
        create_array(folder / _LATENTS, (count, 2, stage.channels, side, side), np.float16)
        create_array(folder / _COLOURS, (count, COLOUR), np.float32)
        write_json(place, {"done": 0})
    values = np.lib.format.open_memmap(folder / _LATENTS, "r+")
    colours = np.lib.format.open_memmap(folder / _COLOURS, "r+")
    begin = int(read_json(place)["done"])
    device = next(stage.parameters()).device
    for i, start in enumerate(range(begin, count, _BATCH), 1):
        rows = np.arange(start, min(start + _BATCH, count))
        x = to_tensor(read(rows)).to(device)
        both = stage.encode(torch.cat([x, x.flip(3)])).float().cpu()
        if not bool(both.isfinite().all()) or float(both.abs().max()) > 65504:
            raise DiffInfError(
                f"{stage.name} gives latents beyond float16 for the pictures {rows[0]} to {rows[-1]}; its "
                "weights do not fit these pictures or are damaged."
            )
        values[rows] = torch.stack(both.half().chunk(2), 1).numpy()
        colours[rows] = coarse_colour(x).cpu().numpy()
        if i % _FLUSH_EVERY == 0 or rows[-1] == count - 1:
            values.flush()
            colours.flush()
            write_json(place, {"done": int(rows[-1]) + 1})
        yield Progress("latents", int(rows[-1]) + 1, count, f"encoding pictures with {stage.name}")
    mean, deviation = _statistics(values)
    space = LatentSpace(
        first_stage=stage.sha256,
        name=stage.name,
        factor=stage.factor,
        mean=tuple(round(float(v), 6) for v in mean),
        deviation=tuple(round(float(max(v, 1e-4)), 6) for v in deviation),
    )
    folder.finish({"n": count, "space": space.model_dump(mode="json")})


def _statistics(values: NDArray[np.float16]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of each channel, a block at a time."""
    channels = values.shape[2]
    total, square, n = np.zeros(channels), np.zeros(channels), 0
    for start in range(0, len(values), 256):
        block = values[start : start + 256].astype(np.float64)
        total += block.sum((0, 1, 3, 4))
        square += (block**2).sum((0, 1, 3, 4))
        n += block.size // channels
    mean = total / n
    return mean, np.sqrt(np.maximum(square / n - mean**2, 0))


def open_latents(folder: StageFolder) -> Latents:
    """What :func:`encode_latents` wrote, mapped from the disk."""
    figures = read_json(folder / "done.json")
    return Latents(
        np.load(folder / _LATENTS, mmap_mode="r"),
        np.load(folder / _COLOURS),
        LatentSpace(**figures["space"]),
    )


def latents_folder(out: Path, key: str) -> StageFolder:
    """Where latents are kept outside of a run."""
    return StageFolder(out / f"latents-{key}", key)
