"""Temporary folders, which may hold pictures of people: private to this user, and gone with the process.

What a killed process left is removed by the next one that needs a temporary folder.
"""

from __future__ import annotations

import getpass
import os
import re
import shutil
import stat
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from diffinf_core.runs.writer import alive, host_token

# Gradio serves nothing from folders whose names begin with a dot.
_NAME = re.compile(r"(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-.+")


def scratch_folder() -> TemporaryDirectory[str]:
    """A fresh temporary folder, as a context manager or until its ``cleanup()``."""
    owner = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    home = Path(gettempdir()) / f"diffinf-{owner}"
    if not _private(home):
        return TemporaryDirectory(prefix="diffinf-")
    for folder in home.iterdir():
        match = _NAME.fullmatch(folder.name)
        # of another host or container a process cannot be asked for
        if match and match["host"] == host_token() and not alive(int(match["pid"])):
            shutil.rmtree(folder, ignore_errors=True)
    return TemporaryDirectory(prefix=f"{host_token()}-{os.getpid()}-", dir=home)


def _private(home: Path) -> bool:
    """Whether a folder, which is made if it is missing, is this user's, and nobody else can write to it."""
    try:
        home.mkdir(mode=0o700)
    except FileExistsError:
        there = home.lstat()
        if hasattr(os, "getuid") and (there.st_uid != os.getuid() or there.st_mode & 0o077):
            return False
        return stat.S_ISDIR(there.st_mode)
    return True
