"""Training pictures as latents: encoded once in several copies, kept as float16, read by memory map.

Mirrored and otherwise augmented pictures are encoded apart, because the latents of a mirrored picture are not
the mirrored latents. Without copies a generator memorises a few thousand pictures within minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from diffinf_core.data.part import to_tensor
from diffinf_core.diffusion.architecture import COLOUR, LatentSpace
from diffinf_core.diffusion.autoencoder import coarse_colour, half_precision
from diffinf_core.diffusion.copies import copied
from diffinf_core.diffusion.first_stage import FirstStage
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import create_array, read_json, write_json
from diffinf_core.runs.run import StageFolder

#: version of this encoding: raise it when the same first stage gives other latents
VERSION = 2
_LATENTS, _COLOURS, _PLACE = "latents.npy", "colours.npy", "encoded.json"
_BATCH = 16
_LARGEST = float(np.finfo(np.float16).max)
#: batches between flushes to the disk: what a kill can cost
_FLUSH_EVERY = 8


@dataclass(frozen=True)
class Latents:
    """Latents (N, K, C, s, s) float16 of K copies of N pictures, as the first stage gives them; ``colours``
    (N, K, 3) float32 in [-1, 1]; ``space`` says how they are normalised."""

    values: NDArray[np.float16]
    colours: NDArray[np.float32]
    space: LatentSpace
    #: whether no pixel of any picture has a colour
    grey: bool = False
    #: those of further pictures, which stand after these; normalised as these are
    more: Latents | None = None

    def __len__(self) -> int:
        return len(self.values) + (0 if self.more is None else len(self.more))

    @property
    def copies(self) -> int:
        """K, how many copies there are of each picture."""
        return int(self.values.shape[1])

    def read(
        self, rows: NDArray[np.int64], copy: NDArray[np.int64]
    ) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        """Latents (B, C, s, s) and colours (B, 3) of some copies (B,) of pictures at ``rows`` (B,)."""
        if self.more is None:
            return self.values[rows, copy], self.colours[rows, copy]
        own = rows < len(self.values)
        values = np.empty((len(rows), *self.values.shape[2:]), self.values.dtype)
        colours = np.empty((len(rows), COLOUR), self.colours.dtype)
        values[own], colours[own] = (
            self.values[rows[own], copy[own]],
            self.colours[rows[own], copy[own]],
        )
        beyond = rows[~own] - len(self.values)
        values[~own], colours[~own] = self.more.read(beyond, copy[~own])
        return values, colours


@torch.no_grad()
def encode_latents(
    folder: StageFolder,
    stage: FirstStage,
    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]],
    count: int,
    size: int,
    copies: int,
    precision: torch.dtype = torch.float32,
) -> Iterator[Progress]:
    """Encode ``count`` pictures into a folder, unless they are there; resumes where it was killed.

    ``read`` gives pictures (B, size, size, 3) uint8 at positions; ``copies`` are made of each, see
    :func:`diffinf_core.diffusion.copies.copied`; the first stage computes in ``precision``. Raises
    :class:`DiffInfError` for a size that the first stage cannot divide, for latents that are not finite,
    and where the disk is full.
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
        create_array(folder / _LATENTS, (count, copies, stage.channels, side, side), np.float16)
        create_array(folder / _COLOURS, (count, copies, COLOUR), np.float32)
        write_json(place, {"done": 0, "coloured": False})
    values = np.lib.format.open_memmap(folder / _LATENTS, "r+")
    colours = np.lib.format.open_memmap(folder / _COLOURS, "r+")
    begun = read_json(place)
    # one that was begun by an earlier version does not say what it has seen
    begin, coloured = int(begun["done"]), bool(begun.get("coloured", begun["done"] > 0))
    device = next(stage.parameters()).device
    for i, start in enumerate(range(begin, count, _BATCH), 1):
        rows = np.arange(start, min(start + _BATCH, count))
        pictures = read(rows)
        coloured |= bool((pictures.max(-1) - pictures.min(-1)).any())
        x = to_tensor(pictures).to(device)
        for k in range(copies):
            copy = copied(x, k, start)
            with half_precision(device, precision):
                z = stage.encode(copy).float().cpu()
            if not bool(z.isfinite().all()) or float(z.abs().max()) > _LARGEST:
                raise DiffInfError(
                    f"{stage.name} gives latents beyond float16 for the pictures {rows[0]} to {rows[-1]}; "
                    "its weights do not fit these pictures or are damaged."
                )
            values[rows, k] = z.half().numpy()
            colours[rows, k] = coarse_colour(copy).cpu().numpy()
        if i % _FLUSH_EVERY == 0 or rows[-1] == count - 1:
            values.flush()
            colours.flush()
            write_json(place, {"done": int(rows[-1]) + 1, "coloured": coloured})
        yield Progress("latents", int(rows[-1]) + 1, count, f"encoding pictures with {stage.name}")
    mean, deviation = _statistics(values)
    space = LatentSpace(
        first_stage=stage.sha256,
        name=stage.name,
        factor=stage.factor,
        mean=tuple(round(float(v), 6) for v in mean),
        deviation=tuple(round(float(max(v, 1e-4)), 6) for v in deviation),
    )
    folder.finish({"n": count, "space": space.model_dump(mode="json"), "grey": not coloured})


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
        np.load(folder / _COLOURS, mmap_mode="r"),
        LatentSpace(**figures["space"]),
        figures.get("grey", False),
    )
