"""Train, validation and test by a stable hash: a sample keeps its split when others come or go."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffinf_core.config import SplitConfig
from diffinf_core.records import DiffInfError

TRAIN, VAL, TEST = "train", "val", "test"


def split_of(key: str, config: SplitConfig) -> str:
    """The part of a sample, or of a whole group, from its name."""
    hashed = hashlib.sha256(f"{config.seed}:{key}".encode()).digest()
    u = int.from_bytes(hashed[:8], "big") / 2**64
    if u < config.test_share:
        return TEST
    return VAL if u < config.test_share + config.val_share else TRAIN


def split_samples(keys: Sequence[str], config: SplitConfig) -> list[str]:
    """The part of each sample; equal keys (one group) always land together."""
    return [split_of(key, config) for key in keys]


def fold_of(
    n: int, folds: int, seed: int, groups: Sequence[str] | None = None
) -> NDArray[np.int64]:
    """The fold of each of n positions for cross-fitting: a seeded permutation, dealt round-robin.

    With ``groups`` (one name per position) whole groups are dealt out, so that a network is never
    used on somebody it was trained on. Raises :class:`DiffInfError` for more folds than there are
    positions or groups.
    """
    names, member = np.unique(range(n) if groups is None else groups, return_inverse=True)
    if len(names) < folds:
        what = "training pictures" if groups is None else "groups"
        raise DiffInfError(f"{folds} folds cannot be made of {len(names)} {what}; use fewer folds.")
    out = np.empty(len(names), np.int64)
    out[np.random.default_rng(seed).permutation(len(names))] = np.arange(len(names)) % folds
    return out[member]
