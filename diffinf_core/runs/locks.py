"""Locks between processes: one holder at a time, and a refusal that says who holds it.

The operating system keeps the lock on one host and frees it when its holder dies. Shared storage may not pass
it on to other hosts, so the holder also writes its name into the file and touches it every minute: a lock
that a process of another host has not given back counts for :data:`SILENT` seconds after the last touch.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from diffinf_core.records import DiffInfError
from diffinf_core.runs import writer

#: seconds between two touches of a lock that is held, and after which that of another host counts as left
_BEAT, SILENT = 60.0, 600.0


def _holder() -> str:
    name = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
    return json.dumps(
        {
            "host": platform.node(),
            "boot": writer.boot_id(),
            "pid": os.getpid(),
            "command": " ".join([name, *sys.argv[1:3]]),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )


def holder_of(file: Path) -> str:
    """Who holds a lock, as part of a sentence; empty where the file does not say."""
    try:
        held = json.loads(file.read_text("utf-8"))
        return (
            f" ({held['command']}, process {held['pid']} on {held['host']} since {held['since']})"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _held_elsewhere(file: Path) -> float:
    """For how many seconds a lock that is free on this host counts as held by another; 0: it is free."""
    try:
        held = json.loads(file.read_text("utf-8"))
        # a time far ahead is of a clock that was set back, or of a file restored from a copy
        age = abs(time.time() - file.stat().st_mtime)
        return max(0.0, SILENT - age) if held["boot"] != writer.boot_id() else 0.0
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0  # given back, or of a version that named no boot


@contextmanager
def _touched(handle: int) -> Iterator[None]:
    """Touch an open file every :data:`_BEAT` seconds."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(_BEAT):
            with suppress(OSError):
                os.utime(handle)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _opened(file: Path) -> int:
    try:
        # A link would have another file emptied.
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        found = os.fstat(handle)
        if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:
            return handle
        os.close(handle)
        raise DiffInfError(f"{file} is a link to another file, not a lock; remove it.")
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR):
            raise DiffInfError(f"{file} is a link or a folder, not a lock; remove it.") from error
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise DiffInfError(
            f"{file.parent} may only be read here ({error.strerror}): nothing can be computed or written in "
            "it. Take a copy, or get write access."
        ) from error


@contextmanager
def exclusive(file: Path, refusal: str, keep: bool = True) -> Iterator[None]:
    """Hold a lock file, or raise :class:`DiffInfError`.

    ``refusal`` is the sentence, in which ``{holder}`` stands for who holds the lock. The operating system
    frees the lock of a process that dies. ``keep``: whether the file stays when the lock is given back.
    """
    import fcntl

    while True:
        handle = _opened(file)
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
    if seconds := _held_elsewhere(file):
        os.close(handle)
        raise DiffInfError(
            f"{refusal.format(holder=holder_of(file))} That is another machine, or this one before it was "
            f"started anew: where the process is known to be gone, remove {file}, or wait {seconds:.0f} s."
        )
    try:
        os.ftruncate(handle, 0)
        os.write(handle, _holder().encode())
        with _touched(handle):
            yield
    finally:
        with suppress(OSError):
            os.ftruncate(handle, 0)
        if not keep:
            file.unlink(missing_ok=True)
        os.close(handle)
