"""Train, validation and test by a stable hash: a sample keeps its split when others come or go."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffinf_core.config import SplitConfig
from diffinf_core.records import DiffInfError

TRAIN, VAL, TEST = "train", "val", "test"
#: names of folders and cells that stand for a split, in lower case
SPLIT_NAMES = {
    "train": TRAIN, "training": TRAIN, "train_set": TRAIN, "trainset": TRAIN,
    "val": VAL, "valid": VAL, "validation": VAL, "dev": VAL, "eval": VAL,
    "test": TEST, "testing": TEST, "test_set": TEST, "testset": TEST,
}  # fmt: skip


def split_named(name: str) -> str | None:
    """The split that a folder or a cell stands for, None for any other name."""
    return SPLIT_NAMES.get(name.strip().lower())


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


def split_rows(given: Sequence[str], keys: Sequence[str], config: SplitConfig) -> list[str]:
    """The part of each sample: the given one, and :func:`split_samples` where a data set gives none.

    ``given`` is empty where a sample has none. A part that a data set does not give (a validation split,
    often) is drawn from its training split. Raises :class:`DiffInfError` where one of ``keys`` (a group)
    stands in two given parts.
    """
    home: dict[str, str] = {}
    for part, key in zip(given, keys, strict=True):
        if part and home.setdefault(key, part) != part:
            raise DiffInfError(
                f"The group {key!r} stands in the splits {home[key]} and {part}; a group may stand in one."
            )
    missing = {VAL, TEST} - set(given)
    out = []
    for drawn, key in zip(split_samples(keys, config), keys, strict=True):
        part = home.get(key, "")
        out.append(drawn if not part or (part == TRAIN and drawn in missing) else part)
    return out


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
