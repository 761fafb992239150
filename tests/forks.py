"""Processes that begin with the libraries in memory.

Most of a command's or an app's start is the import of PyTorch and Gradio. One process imports them and is
forked for each that a test starts; from then on it is a process like any other, which can be killed.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["diffinf_core.ui.app"])
# Read or set once, by the process that is forked.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def take_place(environment: Mapping[str, str], folder: Path, arguments: Sequence[str]) -> None:
    """Become, in a forked process, one that was started like this."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = list(arguments)


def _command(
    words: Sequence[str], environment: Mapping[str, str], folder: Path, said: Path
) -> None:
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(said / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    take_place(environment, folder, ["diffinf", *words])
    runpy.run_module("diffinf_core.cli", run_name="__main__", alter_sys=True)


def run_command(words: Sequence[str], folder: Path, said: Path) -> None:
    """A command, as the target of a process that may be killed; it writes out and err into ``said``."""
    _command(words, {**os.environ, "COLUMNS": "200"}, folder, said)


def diffinf(*words: str, cwd: Path = ROOT, limit: float = 300) -> subprocess.CompletedProcess[str]:
    """A command of the command line, run to its end; raises TimeoutError after ``limit`` seconds."""
    environment = {**os.environ, "COLUMNS": "200"}
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder)
        process = FORKS.Process(target=_command, args=(words, environment, cwd, said))
        process.start()
        try:
            process.join(limit)
            if process.is_alive():
                raise TimeoutError(f"diffinf {' '.join(words)} took more than {limit} seconds")
        finally:
            process.kill()  # else the interpreter would wait for it at its own end
            process.join()
        out, err = ((said / n).read_text() if (said / n).exists() else "" for n in ("out", "err"))
    return subprocess.CompletedProcess(words, process.exitcode, out, err)
