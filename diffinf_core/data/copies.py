"""Copies of a picture in a data set: which there are, and which of them share a split.

A copy in the test split of a training picture is remembered, not recognised. Equal files always stay
together; pictures that look alike do as far as their group stays small, because drawings on one background
would else all become one group.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.data.alike import GREY, SLICE, grey_thumbnails, near_duplicates
from diffinf_core.data.text import shown
from diffinf_core.records import Progress
from diffinf_core.runs.files import create_array
from diffinf_core.runs.pages import drop_pages
from diffinf_core.runs.scratch import scratch_folder

#: pictures that look alike stay together in groups of at most this fraction of the smallest class
LARGEST_GROUP = 0.1


@dataclass(frozen=True)
class Copies:
    """Copies among the pictures of a data set, by file name.

    ``exact`` holds groups of two or more equal files, ``near`` (first, second, correlation) of other pictures
    that look alike, the most alike first; of each group of equal files the first stands for all.
    """

    exact: Sequence[Sequence[str]] = ()
    near: Sequence[tuple[str, str, float]] = ()

    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of copies, equal files first: each of a group with its first."""
        exact = [(group[0], other) for group in self.exact for other in group[1:]]
        return exact + [(a, b) for a, b, _ in self.near]


def equal_files(digests: NDArray[np.uint8]) -> list[list[int]]:
    """Groups of positions with the same digest (N, 32); zeros are of files that could not be read."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for i, row in enumerate(digests):
        groups[row.tobytes()].append(i)
    groups.pop(bytes(32), None)
    return [group for group in groups.values() if len(group) > 1]


def scratch_thumbnails(n: int) -> NDArray[np.uint8]:
    """Room for thumbnails (n, 32, 32) in a file without a name, so that memory does not grow with n."""
    if not n:
        return np.zeros((0, GREY, GREY), np.uint8)
    scratch = scratch_folder()
    try:
        return create_array(Path(scratch.name) / "thumbnails.npy", (n, GREY, GREY), np.uint8)
    finally:
        with suppress(OSError):  # Windows keeps what is mapped
            scratch.cleanup()


def thumbnails_of(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The thumbnails of pictures (N, S, S, 3)."""
    grey = scratch_thumbnails(len(images))
    for start in range(0, len(images), SLICE):
        grey[start : start + SLICE] = grey_thumbnails(images[start : start + SLICE])
        drop_pages(images)
        drop_pages(grey)
    return grey


def find_copies(
    files: Sequence[str], digests: NDArray[np.uint8], grey: NDArray[np.uint8], stage: str
) -> Generator[Progress, None, Copies]:
    """The copies among N files with these digests (N, 32) and thumbnails (N, 32, 32)."""
    exact = equal_files(digests)
    single = np.asarray(digests.any(1))  # not of files that could not be read
    for group in exact:
        single[group[1:]] = False
    rows, near = np.flatnonzero(single), pd.DataFrame()
    if len(rows) > 1:
        some = grey if len(rows) == len(grey) else thumbnails_at(grey, rows)
        for done, total, near in near_duplicates(some):
            yield Progress(stage, done, total, f"comparing, {len(near):,} pairs alike so far")
    return Copies(
        [[files[i] for i in group] for group in exact],
        [
            (files[rows[int(a)]], files[rows[int(b)]], float(alike))
            for a, b, alike in near.itertuples(index=False)
        ],
    )


def thumbnails_at(grey: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Some of the thumbnails, in a file of their own."""
    out = scratch_thumbnails(len(rows))
    for start in range(0, len(rows), SLICE):
        out[start : start + SLICE] = grey[rows[start : start + SLICE]]
    return out


class _Groups:
    """Disjoint sets of positions."""

    def __init__(self, n: int) -> None:
        self._above, self._size = list(range(n)), [1] * n

    def top(self, i: int) -> int:
        while self._above[i] != i:
            self._above[i] = self._above[self._above[i]]
            i = self._above[i]
        return i

    def join(self, a: int, b: int, most: int | None = None) -> None:
        """Join two sets, unless the union had more than ``most`` members; the lower top stays."""
        a, b = sorted((self.top(a), self.top(b)))
        if a != b and (most is None or self._size[a] + self._size[b] <= most):
            self._above[b] = a
            self._size[a] += self._size[b]


def together(
    copies: Copies,
    files: Sequence[str],
    labels: Sequence[str],
    units: Sequence[str],
    given: Sequence[str],
) -> list[str]:
    """The unit of each file that a split must not cut: as ``units``, with copies in one.

    ``given`` are the splits that the data set gives, which stand: copies in different ones stay apart.
    """
    groups, at = _Groups(len(files)), {file: i for i, file in enumerate(files)}
    most = max(2, int(LARGEST_GROUP * min(Counter(labels).values(), default=0)))
    first: dict[str, int] = {}
    for i, unit in enumerate(units):
        groups.join(first.setdefault(unit, i), i)
    for names in copies.exact:
        firsts: dict[str, int] = {}
        for i in (at[name] for name in names if name in at):
            groups.join(firsts.setdefault(given[i], i), i)
    for a, b, _ in copies.near:
        if a in at and b in at and given[at[a]] == given[at[b]]:
            groups.join(at[a], at[b], most)
    return [units[groups.top(i)] for i in range(len(files))]


def cut(copies: Copies, parts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Pairs of copies in different splits; ``parts`` is the split of each file that has one."""
    return [(a, b) for a, b in copies.pairs() if a in parts and b in parts and parts[a] != parts[b]]


def copies_remarks(copies: Copies, parts: Mapping[str, str]) -> list[str]:
    """Sentences on the copies of a data set; ``parts`` is the split of each file that has one."""
    out = []
    if copies.exact:
        n = sum(map(len, copies.exact))
        out.append(f"{n:,} pictures are equal files, in {len(copies.exact):,} groups.")
    if copies.near:
        out.append(f"{len(copies.near):,} pairs of pictures look alike.")
    if apart := cut(copies, parts):
        (a, b), more = apart[0], f" and {len(apart) - 1:,} more" if len(apart) > 1 else ""
        out.append(
            f"Copies stand in different splits: {shown(a)} in {parts[a]}, {shown(b)} in {parts[b]}{more}."
        )
    return out
