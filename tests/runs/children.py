"""Processes that a test starts to kill, and what a folder holds afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffinf_core.records import DiffInfError

ROOT = Path(__file__).parents[2]


def child(code: str, *words: object) -> subprocess.Popen[str]:
    """Another process that can import the package."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def names_in(folder: Path) -> list[str]:
    """Everything in a folder, hidden files too."""
    return sorted(p.name for p in folder.iterdir())


def sentence(error: pytest.ExceptionInfo[DiffInfError]) -> str:
    """The message, which is one line that ends."""
    text = str(error.value)
    assert text.endswith(".") and "\n" not in text
    return text
