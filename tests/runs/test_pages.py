"""Memory of mapped arrays is given back, and no value is lost by it."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from diffinf_core.runs.files import create_array
from diffinf_core.runs.pages import drop_pages

SHAPE = (64, 1 << 20)


def of_files() -> int:
    """Bytes of mapped files in this process's memory."""
    return int(Path("/proc/self/statm").read_text().split()[2]) * mmap.PAGESIZE


def test_written_pages_are_given_back_and_keep_their_values(tmp_path: Path) -> None:
    array = create_array(tmp_path / "a.npy", SHAPE, np.uint8)
    array[:] = np.arange(64, dtype=np.uint8)[:, None]
    drop_pages(array)  # unflushed
    drop_pages(array[3:5])
    assert (array == np.arange(64)[:, None]).all()
    array.flush()
    assert (np.load(tmp_path / "a.npy")[:, 7] == np.arange(64)).all()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's account of memory")
def test_the_memory_of_a_process_shrinks(tmp_path: Path) -> None:
    array = create_array(tmp_path / "a.npy", SHAPE, np.uint8)
    array[:] = 1
    held = of_files()
    drop_pages(array)
    assert held - of_files() > array.nbytes // 2


def test_private_copies_and_arrays_in_memory_stay_as_they_are(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(10_000, np.uint8))
    private = np.load(tmp_path / "a.npy", mmap_mode="c")
    private[:] = 7
    plain = np.full(5, 3)
    drop_pages(private)
    drop_pages(plain)
    assert (private == 7).all() and (plain == 3).all()
