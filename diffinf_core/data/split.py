"""Train, validation and test: stratified by class and drawn by a stable hash, or as a data set gives them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diffinf_core.config import SplitConfig
from diffinf_core.records import DiffInfError

TRAIN, VAL, TEST = "train", "val", "test"
#: in their usual order
PARTS = (TRAIN, VAL, TEST)
#: names of folders and cells that stand for a split, in lower case
SPLIT_NAMES = {
    "train": TRAIN, "training": TRAIN, "train_set": TRAIN, "trainset": TRAIN,
    "val": VAL, "valid": VAL, "validation": VAL, "dev": VAL, "eval": VAL,
    "test": TEST, "testing": TEST, "test_set": TEST, "testset": TEST,
}  # fmt: skip


def split_named(name: str) -> str | None:
    """The split that a folder or a cell stands for, None for any other name."""
    return SPLIT_NAMES.get(name.strip().lower())


def _place(key: str, seed: int) -> float:
    """Where a name falls in [0, 1), whatever else is there."""
    hashed = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    return int.from_bytes(hashed[:8], "big") / 2**64


def split_of(key: str, config: SplitConfig) -> str:
    """The part of a whole group from its name: it keeps its split when others come or go."""
    u = _place(key, config.seed)
    if u < config.test_share:
        return TEST
    return VAL if u < config.test_share + config.val_share else TRAIN


@dataclass(frozen=True)
class Split:
    """The part of each sample, empty for one that is left out.

    ``small`` counts the pictures (or groups) of each class that is too small for every part; what became of
    them follows from ``SplitConfig.small_classes``.
    """

    parts: list[str]
    small: Mapping[str, int] = field(default_factory=dict)


def split_rows(
    labels: Sequence[str],
    given: Sequence[str],
    groups: Sequence[str] | None,
    keys: Sequence[str],
    config: SplitConfig,
) -> Split:
    """Split some samples; each class has a picture in every part, or is named as too small.

    ``labels`` are class names, ``given`` the parts that the data set gives (empty: none), ``groups`` names
    that must not be cut, ``keys`` are names, unique but for copies of a picture, which have one. A part that
    the data set does not give is drawn from its training split. Without groups each class is cut by the
    shares exactly; with them the hash of a group decides, and whole groups move where a class would lack a
    part.

    Raises :class:`DiffInfError` where a group stands in two given parts.
    """
    units = keys if groups is None else groups
    home: dict[str, str] = {}
    for part, unit in zip(given, units, strict=True):
        if home.setdefault(unit, part) != part:
            raise DiffInfError(
                f"The group {unit!r} stands in the splits {home[unit] or 'none'} and {part or 'none'}; a "
                "group may stand in one."
            )
    missing = {VAL, TEST} - set(given)
    classes: dict[str, list[str]] = defaultdict(
        list
    )  # units of each class, in the order of the hash
    for label, unit in dict.fromkeys(zip(labels, units, strict=True)):
        classes[label].append(unit)
    places = {unit: _place(unit, config.seed) for unit in home}
    for members in classes.values():
        members.sort(key=lambda unit: (places[unit], unit))
    some = any(home.values())
    drawn = {u for u, part in home.items() if not part or (part == TRAIN and missing)}
    if some and not all(home.values()):  # only those without a part; a given one is never overruled
        drawn = {u for u in drawn if not home[u]}
    wanted = missing if some and all(home.values()) else {VAL, TEST}
    parts = {u: part or TRAIN for u, part in home.items()}
    if config.folds is not None and TEST in wanted:
        parts |= _folds(sorted(drawn, key=places.__getitem__), classes, groups is None, config)
    elif groups is None:
        parts |= _by_class(classes, drawn, wanted, config)
    else:
        parts |= {u: p if (p := split_of(u, config)) in (TRAIN, *wanted) else TRAIN for u in drawn}
    if groups is not None or len(home) < len(keys):  # a group, or copies, may be of several classes
        _move_groups(parts, classes, drawn, wanted)
    small = {
        label: len(members)
        for label, members in sorted(classes.items())
        if len({parts[u] for u in members}) < 3
    }
    out = [parts[unit] for unit in units]
    if config.small_classes == "drop":
        out = ["" if label in small else part for label, part in zip(labels, out, strict=True)]
    elif config.small_classes == "train" and groups is None:
        out = [
            TRAIN if label in small and unit in drawn else part
            for label, unit, part in zip(labels, units, out, strict=True)
        ]
    return Split(out, small)


def _by_class(
    classes: Mapping[str, list[str]], drawn: set[str], wanted: set[str], config: SplitConfig
) -> dict[str, str]:
    """The first of each class to test, the next to validation: as the shares say, and one at least."""
    out: dict[str, str] = {}
    for members in classes.values():
        mine = [unit for unit in members if unit in drawn]
        counts = [
            max(1, int(len(mine) * share + 0.5)) if part in wanted else 0
            for part, share in ((TEST, config.test_share), (VAL, config.val_share))
        ]
        while mine and sum(counts) >= len(mine):  # training keeps one
            counts[counts.index(max(counts))] -= 1
        test, both = counts[0], sum(counts)
        out |= {u: TEST if i < test else VAL if i < both else TRAIN for i, u in enumerate(mine)}
    return out


def _folds(
    drawn: Sequence[str], classes: Mapping[str, list[str]], by_class: bool, config: SplitConfig
) -> dict[str, str]:
    """Test is one of the folds, which are dealt out class by class, or group by group."""
    assert config.folds is not None
    out: dict[str, str] = {}
    chosen = set(drawn)
    piles = [[u for u in members if u in chosen] for members in classes.values()]
    for pile in piles if by_class else [drawn]:
        rest = []
        for i, unit in enumerate(pile):
            if i % config.folds == config.fold:
                out[unit] = TEST
            else:
                rest.append(unit)
        val = max(1, int(len(pile) * config.val_share + 0.5)) if len(rest) > 1 else 0
        out |= {u: VAL if i < val else TRAIN for i, u in enumerate(rest)}
    return out


def _move_groups(
    parts: dict[str, str], classes: Mapping[str, list[str]], drawn: set[str], wanted: set[str]
) -> None:
    """Move whole groups so that no class lacks a part, where that makes no other class lack one."""
    labels_of: dict[str, list[str]] = defaultdict(list)
    counts = Counter[tuple[str, str]]()
    for label, members in classes.items():
        for unit in members:
            labels_of[unit].append(label)
            counts[label, parts[unit]] += 1
    for label, members in sorted(classes.items()):
        for part in (TRAIN, *sorted(wanted)):
            if counts[label, part]:
                continue
            free = [
                u
                for u in members
                if u in drawn and all(counts[other, parts[u]] > 1 for other in labels_of[u])
            ]
            # from the part that has most of the class; the order of the hash breaks ties
            for unit in sorted(free, key=lambda u: -counts[label, parts[u]])[:1]:
                for other in labels_of[unit]:
                    counts[other, parts[unit]] -= 1
                    counts[other, part] += 1
                parts[unit] = part


def too_small(
    small: Mapping[str, int], config: SplitConfig, grouped: bool, copies: bool = False
) -> str:
    """What to say and do about classes that are too small for every part; ``copies`` counted once."""
    unit, noun = ("groups", "group") if grouped else ("pictures", "picture")
    named = [f"{name!r} ({n} {noun if n == 1 else unit})" for name, n in list(small.items())[:5]]
    more = f" and {len(small) - 5} more" if len(small) > 5 else ""
    needed = (
        f"{config.folds} for as many folds"
        if config.folds
        else "3, one each for train, val and test"
    )
    many = len(small) > 1
    once = ", copies of a picture counted once," if copies else ""
    return (
        f"{'classes' if many else 'class'} {', '.join(named)}{more}{once} {'are' if many else 'is'} too "
        f"small for the split, which needs {needed}; add pictures, or leave {'them' if many else 'it'} out "
        "(--drop-small-classes), or take all for training (--set split.small_classes=train)"
        + (", or try another split.seed" if grouped else "")
    )


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
