"""Locks between processes: one holder at a time, and a refusal that says who holds it."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from diffinf_core.records import DiffInfError


def _holder() -> str:
    name = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
    return json.dumps(
        {
            "host": platform.node(),
            "pid": os.getpid(),
            "command": " ".join([name, *sys.argv[1:3]]),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )


def holder_of(file: Path) -> str:
    """Who holds a lock, as part of a sentence; empty where the file does not say."""
    try:
        held = json.loads(file.read_text())
        return (
            f" ({held['command']}, process {held['pid']} on {held['host']} since {held['since']})"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return ""


@contextmanager
def exclusive(file: Path, refusal: str, keep: bool = True) -> Iterator[None]:
    """Hold a lock file, or raise :class:`DiffInfError`.

    ``refusal`` is the sentence, in which ``{holder}`` stands for who holds the lock. The operating system
    frees the lock of a process that dies. ``keep``: whether the file stays when the lock is given back.
    """
    import fcntl

    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            current = file.stat().st_ino == os.fstat(handle).st_ino
        except BlockingIOError as error:
            os.close(handle)
            raise DiffInfError(refusal.format(holder=holder_of(file))) from error
        except FileNotFoundError:
            current = False
        if current:
            break
        os.close(handle)  # its holder removed it meanwhile
    try:
        os.ftruncate(handle, 0)
        os.write(handle, _holder().encode())
        yield
    finally:
        with suppress(OSError):
            os.ftruncate(handle, 0)
        if not keep:
            file.unlink(missing_ok=True)
        os.close(handle)
