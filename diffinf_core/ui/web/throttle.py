"""Slow down guessing: after some failures a key has to wait, each time longer."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

FREE_FAILURES = 5
FIRST_WAIT, LONGEST_WAIT = 5.0, 300.0
#: seconds after which a key's failures are forgotten
MEMORY = 900.0
MOST_KEYS = 4096


@dataclass
class _Record:
    failures: int = 0
    until: float = 0.0
    last: float = 0.0


class Throttle:
    """Counts failures of keys, such as a user's name and an address, with bounded memory.

    An attempt counts as a failure when it begins, so that many at once gain nothing.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._records)

    def begin(self, keys: Sequence[str]) -> float:
        """Seconds that these keys must wait; 0 begins an attempt, which counts as failed so far."""
        with self._lock:
            now = self._clock()
            # Who has to wait leaves no trace: a flood of names cannot push out the records of others.
            known = [self._records[key] for key in keys if key in self._records]
            wait = max((record.until - now for record in known), default=0.0)
            if wait > 0:
                return wait
            for record in [self._record(key, now) for key in keys]:
                record.failures += 1
                record.last = now
                over = record.failures - FREE_FAILURES
                if over >= 0:
                    record.until = now + min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(over, 16))
            return 0.0

    def _record(self, key: str, now: float) -> _Record:
        record = self._records.setdefault(key, _Record(last=now))
        self._records.move_to_end(key)
        if now - record.last > MEMORY:
            record.failures, record.until = 0, 0.0
        while len(self._records) > MOST_KEYS:
            self._forget_one(key, now)
        return record

    def _forget_one(self, new: str, now: float) -> None:
        """The key that was quiet for longest, of those that need not wait where there is one."""
        free = (k for k, r in self._records.items() if r.until <= now and k != new)
        del self._records[next(free, next(iter(self._records)))]

    def succeed(self, name: str, *others: str) -> None:
        """The attempt was right: the name starts anew, other keys lose only this attempt."""
        with self._lock:
            self._records.pop(name, None)
            for key in others:
                record = self._records.get(key)
                if record is not None:
                    record.failures = max(0, record.failures - 1)
                    record.until = 0.0
