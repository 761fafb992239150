"""The split: decided by a name alone, so that nobody moves when others come or go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffinf_core.config import SplitConfig
from diffinf_core.data.split import TEST, TRAIN, VAL, split_of, split_samples

names = st.text(max_size=12)
shares = st.floats(0.01, 0.49)


@settings(max_examples=60, deadline=None)
@given(old=st.lists(names, max_size=30), new=st.lists(names, max_size=30), place=st.integers(0, 30))
def test_new_samples_move_nobody(old: list[str], new: list[str], place: int) -> None:
    config = SplitConfig()
    before = split_samples(old, config)
    both = split_samples(old[:place] + new + old[place:], config)
    assert both[: len(old[:place])] + both[len(old[:place]) + len(new) :] == before


@settings(max_examples=60, deadline=None)
@given(keys=st.lists(st.sampled_from("abcdefgh"), min_size=1), seed=st.integers(0, 2**31))
def test_a_group_is_never_cut(keys: list[str], seed: int) -> None:
    parts = split_samples(keys, SplitConfig(seed=seed))
    assert len(set(zip(keys, parts, strict=True))) == len(set(keys))


@settings(max_examples=60, deadline=None)
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
