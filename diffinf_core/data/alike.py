"""Pictures that are nearly the same: which pairs of thumbnails a data set has.

Each picture is reduced to a grey thumbnail and that to 63 bits: the signs of its lowest cosine
frequencies about their median. Pictures whose bits differ in at most seven places share at least one
quarter of the hash up to one bit, so looking up each quarter, as it is and with one bit turned, finds
every such pair without comparing all with all. What is found counts as a pair only where the
thumbnails correlate, too: hashes of faces in the same pose can meet by chance.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.fft import dctn

#: width of the thumbnails; every working size is a multiple of it
GREY = 32
#: pictures per file of thumbnails
SLICE = 1024
#: hashes that differ in more bits are not looked at
MOST_BITS = 7
#: thumbnails that correlate less are not called nearly the same
LEAST_CORRELATION = 0.95
#: a crowd of pictures under one quarter of a hash is compared with this many neighbours each
CROWD = 512
#: pairs that are kept, the most alike
MOST_PAIRS = 100_000
_QUARTERS, _WIDTH = 4, 16
#: comparisons held in memory at a time
_CHUNK = 1 << 20
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


def grey_thumbnails(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures (B, S, S, 3), S a multiple of 32, to grey means over blocks, uint8 (B, 32, 32)."""
    block = images.shape[1] // GREY
    grey = (images @ _LUMA).reshape(len(images), GREY, block, GREY, block).mean((2, 4))
    return np.clip(grey + 0.5, 0, 255).astype(np.uint8)


def hashes(grey: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Perceptual hashes (N,) of thumbnails (N, 32, 32); 63 bits, the highest is 0."""
    out = np.empty(len(grey), np.uint64)
    for start in range(0, len(grey), SLICE):
        part = grey[start : start + SLICE].astype(np.float32)
        low = dctn(part, axes=(1, 2), norm="ortho")[:, :8, :8].reshape(len(part), 64)
        bits = low > np.median(low[:, 1:], 1, keepdims=True)
        bits[:, 0] = False  # mean brightness says nothing of what is seen
        out[start : start + SLICE] = np.packbits(bits, 1).view(">u8")[:, 0]
    return out


def _expanded(low: NDArray[np.int64], high: NDArray[np.int64]) -> Iterator[Pairs]:
    """(i, j) for every i and every j in [low[i], high[i]), in pieces that fit into memory."""
    counts = np.clip(high - low, 0, None)
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        base = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, base + _CHUNK, "right")))
        some = counts[start:stop]
        left = np.repeat(np.arange(start, stop), some)
        within = np.arange(len(left)) - np.repeat(ends[start:stop] - some - base, some)
        yield left, low[left] + within
        start = stop


def near_hashes(codes: NDArray[np.uint64]) -> Iterator[tuple[int, int, Pairs]]:
    """Pairs whose codes (N,) differ in at most :data:`MOST_BITS` bits, with (done, total) lookups.

    A pair can come more than once. Complete, except among more than :data:`CROWD` codes that share a
    quarter: there each is compared with its neighbours in the order of the codes.
    """
    total = _QUARTERS * (1 + _WIDTH)
    for quarter in range(_QUARTERS):
        turn = np.uint64(_WIDTH * quarter)
        turned = (codes << turn) | (codes >> (np.uint64(64) - turn)) if quarter else codes
        order = np.argsort(turned, kind="stable")
        row = turned[order]
        key = row >> np.uint64(64 - _WIDTH)
        for step in range(1 + _WIDTH):
            if step == 0:
                low = np.arange(1, len(row) + 1)
                high = np.minimum(np.searchsorted(key, key, "right"), low + CROWD)
            else:
                bit = np.uint64(1 << (step - 1))
                first = np.searchsorted(key, key ^ bit, "left")
                last = np.searchsorted(key, key ^ bit, "right")
                same = np.searchsorted(row, row ^ (bit << np.uint64(64 - _WIDTH)))
                low = np.clip(same - CROWD // 2, first, np.maximum(first, last - CROWD))
                # Of the two that look each other up one is enough.
                high = np.where(key & bit, low, np.minimum(last, low + CROWD))
            done = quarter * (1 + _WIDTH) + step + 1
            for left, right in _expanded(low, high):
                near = np.bitwise_count(row[left] ^ row[right]) <= MOST_BITS
                yield done, total, (order[left[near]], order[right[near]])


def _standardised(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Rows (N, 1024) of mean 0 and length 1; a picture of one grey is 0."""
    flat = grey.reshape(len(grey), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.divide(flat, length, out=flat, where=length > 0)


def correlation(
    grey: NDArray[np.uint8], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Correlation (M,) of thumbnails at positions ``first`` and ``second`` (M,).

    Two pictures of one grey each correlate by 1 where it is the same grey.
    """
    out = np.empty(len(first), np.float32)
    for start in range(0, len(first), SLICE):
        rows = slice(start, start + SLICE)
        a, b = grey[first[rows]], grey[second[rows]]
        same = (a == b).all((1, 2))
        out[rows] = np.where(same, 1, (_standardised(a) * _standardised(b)).sum(1))
    return out


def near_duplicates(grey: NDArray[np.uint8]) -> Iterator[tuple[int, int, pd.DataFrame]]:
    """(done, total, pairs found so far) for thumbnails (N, 32, 32).

    Columns first, second (positions, first < second) and correlation, the most alike first.
    """
    codes, n = hashes(grey), len(grey)
    found = pd.DataFrame({"first": [], "second": [], "correlation": []})
    seen = np.empty(0, np.int64)
    for done, total, (i, j) in near_hashes(codes):
        packed = np.setdiff1d(np.minimum(i, j) * n + np.maximum(i, j), seen)
        if len(packed):
            first, second = packed // n, packed % n
            alike = correlation(grey, first, second)
            keep = alike >= LEAST_CORRELATION
            columns = {
                "first": first[keep],
                "second": second[keep],
                "correlation": alike[keep].astype(float),
            }
            found = (
                pd.concat([found, pd.DataFrame(columns)]) if len(found) else pd.DataFrame(columns)
            )
            found = found.sort_values(
                ["correlation", "first", "second"], ascending=[False, True, True]
            ).head(MOST_PAIRS)
            seen = (found["first"] * n + found["second"]).to_numpy(np.int64)
        yield done, total, found.reset_index(drop=True)
