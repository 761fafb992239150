"""The split: decided by a name alone, so that nobody moves when others come or go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffinf_core.config import SplitConfig
from diffinf_core.data.split import (
    SPLIT_NAMES,
    TEST,
    TRAIN,
    VAL,
    Split,
    split_named,
    split_of,
    split_rows,
    too_small,
)
from diffinf_core.records import DiffInfError


def split_samples(keys: list[str], config: SplitConfig) -> list[str]:
    """What the hash alone says of each group."""
    return [split_of(key, config) for key in keys]


names = st.text(max_size=12)
shares = st.floats(0.01, 0.49)


@settings(max_examples=60)
@given(old=st.lists(names, max_size=30), new=st.lists(names, max_size=30), place=st.integers(0, 30))
def test_new_samples_move_nobody(old: list[str], new: list[str], place: int) -> None:
    config = SplitConfig()
    before = split_samples(old, config)
    both = split_samples(old[:place] + new + old[place:], config)
    assert both[: len(old[:place])] + both[len(old[:place]) + len(new) :] == before


@settings(max_examples=60)
@given(keys=st.lists(st.sampled_from("abcdefgh"), min_size=1), seed=st.integers(0, 2**31))
def test_a_group_is_never_cut(keys: list[str], seed: int) -> None:
    parts = split_samples(keys, SplitConfig(seed=seed))
    assert len(set(zip(keys, parts, strict=True))) == len(set(keys))


@settings(max_examples=60)
@given(key=names, val=shares, other=shares, test=shares, more=shares)
def test_a_changed_share_moves_only_whom_it_must(
    key: str, val: float, other: float, test: float, more: float
) -> None:
    part = split_of(key, SplitConfig(val_share=val, test_share=test))
    # Another validation share leaves the test split as it is.
    changed = split_of(key, SplitConfig(val_share=other, test_share=test))
    assert (part == TEST) == (changed == TEST)
    # A larger test share only adds to the test split.
    if part == TEST and more >= test:
        assert split_of(key, SplitConfig(val_share=val, test_share=more)) == TEST


@pytest.mark.parametrize("val,test", [(0.10, 0.20), (0.10, 0.40), (0.01, 0.49), (0.45, 0.05)])
def test_the_shares_come_near_the_ones_asked_for(val: float, test: float) -> None:
    n = 20_000
    keys = [f"images/{i:05d}.png" for i in range(n)]
    parts = np.array(split_samples(keys, SplitConfig(val_share=val, test_share=test)))
    for part, share in ((VAL, val), (TEST, test), (TRAIN, 1 - val - test)):
        found = int((parts == part).sum())
        assert abs(found - share * n) < 4 * np.sqrt(n * share * (1 - share)), part


def test_the_seed_deals_anew_and_independently() -> None:
    n = 20_000
    keys = [f"images/{i:05d}.png" for i in range(n)]
    a, b = (np.array(split_samples(keys, SplitConfig(seed=s))) == TEST for s in (0, 1))
    both = int((a & b).sum())
    assert abs(both - 0.04 * n) < 4 * np.sqrt(n * 0.04 * 0.96)


def test_the_split_of_known_names_stays_what_it_was() -> None:
    """A change of the hash would quietly mix test pictures into everybody's training split."""
    names = [f"{i}.png" for i in range(40)]
    found = "".join(part[1] for part in split_samples(names, SplitConfig()))
    assert found == "rarrerrrrrrerrerrrrearrarrerrrrrrearraar"


# ---------------------------------------------------------------- by class


def split(
    labels: list[str],
    given: list[str] | None = None,
    groups: list[str] | None = None,
    **over: object,
) -> Split:
    """The split of samples 0.png, 1.png, ..."""
    keys = [f"{i}.png" for i in range(len(labels))]
    config = SplitConfig.model_validate(over)
    return split_rows(labels, given or [""] * len(labels), groups, keys, config)


@settings(max_examples=80)
@given(
    sizes=st.lists(st.integers(3, 40), min_size=1, max_size=8),
    val=shares,
    test=shares,
    seed=st.integers(0, 99),
)
def test_every_class_is_cut_by_the_shares_and_has_a_picture_in_each_part(
    sizes: list[int], val: float, test: float, seed: int
) -> None:
    labels = [f"c{k}" for k, n in enumerate(sizes) for _ in range(n)]
    done = split(labels, val_share=val, test_share=test, seed=seed)
    assert not done.small
    for k, n in enumerate(sizes):
        mine = [p for p, label in zip(done.parts, labels, strict=True) if label == f"c{k}"]
        counts = {part: mine.count(part) for part in (TRAIN, VAL, TEST)}
        assert min(counts.values()) >= 1
        for part, share in ((VAL, val), (TEST, test)):
            whole = max(1, int(n * share + 0.5))
            # a picture is taken back where training would have none
            assert counts[part] == whole or (counts[TRAIN] == 1 and counts[part] < whole)


@settings(max_examples=50)
@given(order=st.permutations(range(24)))
def test_the_order_of_the_rows_does_not_matter(order: list[int]) -> None:
    labels, keys = ["a", "b", "c"] * 8, [f"{i}.png" for i in range(24)]
    plain = split_rows(labels, [""] * 24, None, keys, SplitConfig()).parts
    turned = split_rows(
        [labels[i] for i in order], [""] * 24, None, [keys[i] for i in order], SplitConfig()
    )
    assert turned.parts == [plain[i] for i in order]


def test_classes_that_are_too_small_are_named_dropped_or_trained_on() -> None:
    labels = ["a"] * 10 + ["one"] + ["b"] * 10 + ["two"] * 2
    refused = split(labels)
    assert refused.small == {"one": 1, "two": 2}
    text = too_small(refused.small, SplitConfig(), False)
    for part in ("'one' (1 picture)", "'two' (2 pictures)", "--drop-small-classes", "=train"):
        assert part in text
    dropped = split(labels, small_classes="drop")
    assert [p == "" for p in dropped.parts] == [label in ("one", "two") for label in labels]
    trained = split(labels, small_classes="train")
    small = [p for p, label in zip(trained.parts, labels, strict=True) if label in ("one", "two")]
    assert small == [TRAIN] * 3
    assert {"a", "b"} == {
        label for p, label in zip(trained.parts, labels, strict=True) if p == TEST
    }


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_every_picture_is_tested_once_in_cross_validation(folds: int) -> None:
    labels = ["a", "b", "c"] * 7 + ["d"] * 5
    runs = [split(labels, folds=folds, fold=k).parts for k in range(folds)]
    assert all([run[i] for run in runs].count(TEST) == 1 for i in range(len(labels)))
    for run in runs:
        for name in "abcd":
            assert {p for p, label in zip(run, labels, strict=True) if label == name} == {
                TRAIN, VAL, TEST
            }  # fmt: skip


def test_a_fold_that_is_not_there_is_refused() -> None:
    for wrong in ({"fold": 1}, {"folds": 3, "fold": 3}):
        with pytest.raises(ValueError, match="there is no fold"):
            SplitConfig.model_validate(wrong)


# ---------------------------------------------------------------- given splits


def test_a_given_split_is_honoured() -> None:
    given = [TRAIN, VAL, TEST, TRAIN] * 6
    assert split(["a"] * 12 + ["b"] * 12, given).parts == given


def test_a_part_that_is_not_given_is_drawn_from_training_alone() -> None:
    labels = ["a", "b"] * 20
    given = [TRAIN] * 30 + [TEST] * 10
    done = split(labels, given)
    assert done.parts[30:] == [TEST] * 10 and not done.small
    assert set(done.parts[:30]) == {TRAIN, VAL}
    assert done.parts.count(VAL) == 2 * max(1, int(15 * 0.1 + 0.5))


def test_a_given_part_is_never_overruled_where_others_are_drawn() -> None:
    labels, given = ["a", "b"] * 20, [TRAIN] * 10 + [TEST] * 6 + [""] * 24
    done = split(labels, given)
    assert done.parts[:16] == given[:16] and set(done.parts[16:]) == {TRAIN, VAL, TEST}


def test_a_class_that_a_given_split_lacks_is_named() -> None:
    given = [TRAIN, VAL, TEST] * 5 + [TRAIN] * 5
    assert split(["a"] * 15 + ["b"] * 5, given).small == {"b": 5}


@pytest.mark.parametrize("name", [*SPLIT_NAMES, " Train ", "VAL", "Test"])
def test_names_of_splits_are_known_in_any_case(name: str) -> None:
    assert split_named(name) == SPLIT_NAMES[name.strip().lower()]


@pytest.mark.parametrize("name", ["", "trains", "0", "fold1"])
def test_other_names_are_no_splits(name: str) -> None:
    assert split_named(name) is None


# ---------------------------------------------------------------- groups


@settings(max_examples=80)
@given(groups=st.lists(st.integers(0, 12), min_size=1, max_size=60), seed=st.integers(0, 30))
def test_a_group_of_several_classes_is_never_cut(groups: list[int], seed: int) -> None:
    labels = [f"c{i % 3}" for i in range(len(groups))]
    names = [f"p{g}" for g in groups]
    done = split(labels, groups=names, seed=seed)
    assert len(set(zip(names, done.parts, strict=True))) == len(set(names))
    for name in done.small:  # only where the class really lacks a part
        mine = {p for p, label in zip(done.parts, labels, strict=True) if label == name}
        assert len(mine) < 3


def test_groups_move_where_a_class_lacks_a_part_and_stay_where_none_does() -> None:
    groups = [f"p{i}" for i in range(200)]
    many = split(["a", "b"] * 100, groups=groups)
    assert many.parts == [split_of(g, SplitConfig()) for g in groups]
    few = split(["a"] * 197 + ["b"] * 3, groups=groups)
    assert set(few.parts[197:]) == {TRAIN, VAL, TEST} and not few.small


def test_a_group_that_stands_in_two_given_splits_is_named() -> None:
    with pytest.raises(DiffInfError, match="'p1' stands in the splits train and test"):
        split(["a"] * 2, [TRAIN, TEST], ["p1", "p1"])
