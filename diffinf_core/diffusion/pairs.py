"""Pairs of pictures: the same person, with another label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Pairs:
    """For each of N pictures the others of its person that have another label.

    ``people`` (N,) are names, "" or "nan" for nobody that is known; ``labels`` (N,) class indices, -1 for
    unknown: such a picture is in no pair.
    """

    def __init__(self, people: NDArray[np.str_], labels: NDArray[np.int64]) -> None:
        n = len(people)
        known = np.flatnonzero((labels >= 0) & (people != "") & (people != "nan"))
        _, person = np.unique(people[known], return_inverse=True)
        person = person.reshape(-1)
        self._labels, self._person = labels, np.full(n, -1)
        self._person[known] = person
        self._order = known[np.lexsort((labels[known], person))]
        at = np.empty(n, np.int64)
        at[self._order] = np.arange(len(known))
        by = np.sort(person)
        # blocks of one person in the order, and within each the block of one label
        first, last = np.searchsorted(by, person, "left"), np.searchsorted(by, person, "right")
        key = by * (labels.max(initial=0) + 1) + labels[self._order]
        own = key[at[known]]
        begin, end = np.searchsorted(key, own, "left"), np.searchsorted(key, own, "right")
        self._begin, self._skip_from, self._skip = (np.zeros(n, np.int64) for _ in range(3))
        #: how many others there are (N,)
        self.count = np.zeros(n, np.int64)
        self._begin[known], self._skip_from[known] = first, begin - first
        self._skip[known] = end - begin
        self.count[known] = (last - first) - (end - begin)

    def label_frequencies(self, rows: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
        """How often each label (B, classes) is among the others of each row (B,); rows that have some."""
        there = np.flatnonzero(self._person >= 0)
        counts = np.zeros((int(self._person.max(initial=0)) + 1, classes))
        np.add.at(counts, (self._person[there], self._labels[there]), 1)
        out = counts[self._person[rows]]
        out[np.arange(len(rows)), self._labels[rows]] = 0
        return out / out.sum(1, keepdims=True)

    def other(self, rows: NDArray[np.int64], uniform: NDArray[np.float64]) -> NDArray[np.int64]:
        """One of the others of each row (B,), chosen by ``uniform`` (B,) in [0, 1); rows that have some."""
        place = (uniform * self.count[rows]).astype(np.int64)
        place += np.where(place >= self._skip_from[rows], self._skip[rows], 0)
        return self._order[self._begin[rows] + place]
