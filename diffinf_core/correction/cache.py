"""A disk cache of inversions, which do not depend on the weights of the objective.

So a re-edit starts from the same codes. Keyed by picture, label, noise level, steps and generator; the
oldest entries go when the limit is reached. A broken or full cache counts as an empty one: it never stops
a repair.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Mapping
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
_BROKEN = (sqlite3.Error, diskcache.Timeout, OSError)
_log = logging.getLogger(__name__)


class _BytesDisk(diskcache.Disk):
    """Bytes in the database alone: entries that refer to pickles or files are ignored."""

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        if mode == diskcache.core.MODE_PICKLE or filename is not None:
            return None
        return super().fetch(mode, filename, value, read)

    def remove(self, file_path: str) -> None:
        """Nothing: no entry of ours has a file, and a foreign one could name any."""


class InversionCache:
    """Inversions and classes seen, by key; a damaged entry counts as none."""

    def __init__(self, folder: Path, size_limit: int = SIZE_LIMIT) -> None:
        self._cache: diskcache.Cache | None = None
        try:
            self._cache = diskcache.Cache(
                str(folder), disk=_BytesDisk, size_limit=size_limit, disk_min_file_size=1 << 40
            )
        except _BROKEN as error:
            _log.warning(
                "The inversion cache %s cannot be opened and is not used (%s); it can be removed.",
                folder,
                error,
            )

    def _get(self, key: str) -> bytes | None:
        if self._cache is None:
            return None
        try:
            data = self._cache.get(key)
        except _BROKEN as error:
            _log.warning("The inversion cache cannot be read (%s).", error)
            return None
        return data if isinstance(data, bytes) else None

    def _set(self, key: str, data: bytes) -> None:
        if self._cache is None:
            return
        try:
            self._cache.set(key, data)
        except _BROKEN as error:
            _log.warning("The inversion cache cannot be written (%s).", error)

    def entries(self, keys: Iterable[str]) -> dict[str, bytes]:
        """What is stored under these keys, as it is stored."""
        return {key: data for key in keys if (data := self._get(key)) is not None}

    def update(self, entries: Mapping[str, bytes]) -> None:
        """Store :meth:`entries` of another cache."""
        for key, data in entries.items():
            self._set(key, data)

    def inversions(self, keys: list[str], device: torch.device) -> Inversion | None:
        """The batch for these keys; None where one of them is missing."""
        rows: list[dict[str, Tensor]] = []
        for key in keys:
            data = self._get(key)
            if data is None:
                return None
            try:
                row = safetensors.torch.load(data)
            except SafetensorError:
                return None
            if set(row) != set(_NAMES):
                return None
            rows.append(row)
        return Inversion(*(torch.stack([row[name] for row in rows]).to(device) for name in _NAMES))

    def keep(self, keys: list[str], inversion: Inversion) -> None:
        """Store a batch, a picture per entry."""
        for i, key in enumerate(keys):
            row = {name: getattr(inversion, name)[i].cpu().contiguous() for name in _NAMES}
            self._set(key, safetensors.torch.save(row))

    def seen(self, keys: list[str]) -> list[int] | None:
        """The classes seen under these keys; None where one is missing."""
        out = []
        for key in keys:
            data = self._get(key)
            if data is None or not data.isdigit():
                return None
            out.append(int(data))
        return out

    def keep_seen(self, keys: list[str], classes: list[int]) -> None:
        """Store the class seen in each picture."""
        for key, value in zip(keys, classes, strict=True):
            self._set(key, str(value).encode())


class MemoryCache(InversionCache):
    """The same in memory, for a worker that is sent what the run's cache holds."""

    def __init__(self, stored: Mapping[str, bytes] | None = None) -> None:
        self.stored = dict(stored or {})

    def _get(self, key: str) -> bytes | None:
        return self.stored.get(key)

    def _set(self, key: str, data: bytes) -> None:
        self.stored[key] = data
