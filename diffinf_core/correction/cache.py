"""Inversions on disk: what an original is turned into does not depend on the weights of an edit.

So a re-edit starts where the last one did. Keyed by picture, label, noise level, steps and generator;
the oldest go when the limit is reached.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diskcache
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from diffinf_core.correction.guidance import Inversion

#: bytes; some 40,000 pictures of 64 pixels
SIZE_LIMIT = 4 << 30
_NAMES = ("z_sem", "x_T", "reconstruction")


class _BytesDisk(diskcache.Disk):
    """Stores bytes under text; what claims to be a pickle is not opened."""

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        if mode == diskcache.core.MODE_PICKLE:
            return None
        return super().fetch(mode, filename, value, read)


class InversionCache:
    """Inversions and classes seen, by key; a damaged entry counts as none."""

    def __init__(self, folder: Path, size_limit: int = SIZE_LIMIT) -> None:
        self._cache = diskcache.Cache(
            str(folder), disk=_BytesDisk, size_limit=size_limit, disk_min_file_size=1 << 14
        )

    def inversions(self, keys: list[str], device: torch.device) -> Inversion | None:
        """The batch for these keys; None where one of them is missing."""
        rows: list[dict[str, Tensor]] = []
        for key in keys:
            data = self._cache.get(key)
            if not isinstance(data, bytes):
                return None
            try:
                row = safetensors.torch.load(data)
            except SafetensorError:
                return None
            if set(row) != set(_NAMES):
                return None
            rows.append(row)
        return Inversion(*(torch.stack([row[name] for row in rows]).to(device) for name in _NAMES))

    def keep(self, keys: list[str], found: Inversion) -> None:
        """Store a batch, a picture per entry."""
        for i, key in enumerate(keys):
            row = {name: getattr(found, name)[i].cpu().contiguous() for name in _NAMES}
            self._cache.set(key, safetensors.torch.save(row))

    def seen(self, keys: list[str]) -> list[int] | None:
        """The classes seen under these keys; None where one is missing."""
        found = [self._cache.get(key) for key in keys]
        if not all(isinstance(data, bytes) and data.isdigit() for data in found):
            return None
        return [int(data) for data in found]

    def keep_seen(self, keys: list[str], classes: list[int]) -> None:
        """Store the class seen in each picture."""
        for key, value in zip(keys, classes, strict=True):
            self._cache.set(key, str(value).encode())
