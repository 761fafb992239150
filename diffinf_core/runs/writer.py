"""Who writes an unfinished file: the name of each says it, so that others know whose it is.

A process id means something only on its host and in its namespace. Where runs lie on shared storage, a
process of another host is never taken for dead by its number.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import time
from functools import lru_cache
from pathlib import Path

#: seconds after which an unfinished file of another host counts as left behind
ABANDONED = 24 * 3600.0
_PART = ".part"
_NAME = re.compile(r"\.(?P<name>.+)\.(?:(?P<host>[0-9a-f]{8})-)?(?P<pid>\d+)\.[^.]*\.part")


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Names this boot of this host, the same in all of its containers; its name where it has no such id."""
    for file in ("/proc/sys/kernel/random/boot_id", "/etc/machine-id"):
        try:
            return Path(file).read_text().strip()
        except OSError:
            continue
    return platform.node()


@lru_cache(maxsize=1)
def host_token() -> str:
    """Eight hex digits for this host, this boot and this process-id namespace."""
    parts = [platform.node(), boot_id()]
    try:
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:  # no namespaces here
        parts.append("")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def unfinished(path: Path) -> str:
    """How the unfinished name of a file or folder begins."""
    return f".{path.name}.{host_token()}-{os.getpid()}."


def alive(pid: int) -> bool:
    """Whether a process of this host and namespace is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


def left_behind(path: Path, of: str | None = None) -> bool:
    """Whether an unfinished file or folder belongs to a process that is gone.

    ``of`` is the only finished name that counts. Of another host, or of a version that did not name
    hosts, a file is left behind once nobody has written to it for :data:`ABANDONED` seconds.
    """
    match = _NAME.fullmatch(path.name)
    if match is None or (of is not None and match["name"] != of):
        return False
    if match["host"] == host_token():
        return not alive(int(match["pid"]))
    try:
        return time.time() - _last_written(path) > ABANDONED
    except OSError:
        return False


def _last_written(path: Path) -> float:
    """When a file, or anything in a folder, was written last."""
    inside = path.rglob("*") if path.is_dir() else ()
    return max(p.lstat().st_mtime for p in (path, *inside))
