"""A clock that nobody sets: seconds since this machine was started, the same in all of its processes."""

from __future__ import annotations

import time

from diffinf_core.runs.writer import boot_id


def boot_seconds() -> float:
    """Seconds since the boot, suspended time included where the system counts it."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def boot_clock() -> str:
    """Names the boot from which :func:`boot_seconds` counts, in at most 40 characters."""
    return boot_id()[:40]
