"""What is computed once per key: one cache for an opened run, shared by all its services.

A key names what the value was computed from, so no invalidation is needed: another key replaces the value.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass
class _Entry:
    """One name's value; its lock lets one thread compute while the others wait for the result."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    key: str | None = None
    value: Any = None
    checked: float = 0.0


class Cache:
    """One value per name, replaced when its key changes. Threads may share it."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()

    def get(self, name: str, key: str, make: Callable[[], T]) -> T:
        """The value of ``name``, made anew where it was made from another key."""
        return self.recent(name, lambda: key, make, 0.0)

    def recent(self, name: str, key: Callable[[], str], make: Callable[[], T], seconds: float) -> T:
        """Like :meth:`get` for a key that costs more than what it protects.

        The key is computed at most once in ``seconds``; until then the value counts as current.
        """
        with self._lock:
            entry = self._entries.setdefault(name, _Entry())
        with entry.lock:
            now = time.monotonic()
            if entry.key is not None and now - entry.checked < seconds:
                return entry.value
            current = key()
            if entry.key != current:
                entry.value, entry.key = make(), current
            entry.checked = now
            return entry.value
