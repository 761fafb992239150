"""Pairs: the same person with another label, and what a training batch makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffinf_core.diffusion.architecture import LatentSpace
from diffinf_core.diffusion.latent_source import Conditions, LatentSource
from diffinf_core.diffusion.latents import Latents
from diffinf_core.diffusion.pairs import Pairs
from diffinf_core.records import DiffInfError

PEOPLE = ("ann", "ben", "cem", "", "nan")


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(PEOPLE), st.integers(-1, 2)), min_size=1, max_size=30))
def test_the_others_of_a_picture_are_all_of_its_person_with_another_label(
    rows: list[tuple[str, int]],
) -> None:
    people, labels = np.array([p for p, _ in rows]), np.array([k for _, k in rows])
    pairs = Pairs(people, labels)
    for i, (person, label) in enumerate(rows):
        want = {
            j
            for j, (other, k) in enumerate(rows)
            if label >= 0 and k >= 0 and k != label and other == person and person in PEOPLE[:3]
        }
        assert pairs.count[i] == len(want)
        if want:
            uniform = (np.arange(len(want)) + 0.5) / len(want)
            found = pairs.other(np.full(len(want), i), uniform)
            assert set(found.tolist()) == want


def source(people: list[str] | None, labels: list[int], pairs: float) -> LatentSource:
    """Latents that hold the number of their picture; the first and the last are held out."""
    n = len(labels)
    values = np.broadcast_to(np.arange(n)[:, None, None, None, None], (n, 2, 1, 2, 2))
    space = LatentSpace(first_stage="0" * 64, name="x", factor=8, mean=(0.0,), deviation=(1.0,))
    latents = Latents(values.astype(np.float16), np.zeros((n, 2, 3), np.float32), space)
    names = None if people is None else np.array(people)
    given_ = Conditions(np.array(labels), np.zeros((n, 0), np.int64), names)
    return LatentSource(latents, np.zeros((n, 16, 16, 3), np.uint8), given_, pairs=pairs)


def test_a_pair_encodes_one_picture_and_asks_for_the_other_under_its_label() -> None:
    people, labels = ["x", *"aabbc", "x"] * 8, [0, 0, 1, 1, 2, 0, 1] * 8
    made = source(people, labels, 1.0)
    batch = made.batch(np.random.default_rng(0), 400)
    target, code = batch.target[:, 0, 0, 0].astype(int), batch.source[:, 0, 0, 0].astype(int)
    who, label = np.array(people), np.array(labels)
    paired = np.isin(who[target], ["a", "b", "x"])
    assert (who[target] == who[code]).all() and batch.shown is not None
    assert (label[code] == batch.shown).all()
    assert (label[target] != label[code])[paired].all() and (target == code)[~paired].all()
    # the label of a pair is never dropped; that of a single picture is
    assert (batch.label[paired, 0] == label[target][paired]).all()
    assert (batch.label[~paired, 0] < 0).any()
    half = source(people, labels, 0.5).batch(np.random.default_rng(0), 400)
    apart = (half.target != half.source).any((1, 2, 3))
    assert 0.3 < apart.mean() / paired.mean() < 0.7


@pytest.mark.parametrize("fraction", [0.5, 1.0])
def test_frequencies_are_those_of_the_labels_that_codes_show(fraction: float) -> None:
    people, labels = ["x", *("a" * 10), *"bcd", "x"] * 4, [0, *([0] * 9), 1, 0, 2, 1, 1] * 4
    made = source(people, labels, fraction)
    shown = made.batch(np.random.default_rng(0), 40_000).shown
    assert shown is not None
    given = made.frequencies()
    np.testing.assert_allclose(given, np.bincount(shown) / len(shown), atol=0.015)
    plain = source(people, labels, 0.0).frequencies()
    assert given is not None and plain is not None and np.abs(given - plain).max() > 0.2


def test_without_pairs_batches_are_what_they_were() -> None:
    labels = [0, 1] * 20
    one = source(None, labels, 0.0).batch(np.random.default_rng(3), 8)
    two = source(["a"] * 40, labels, 0.0).batch(np.random.default_rng(3), 8)
    np.testing.assert_array_equal(one.target, two.target)
    assert one.source is one.target


def test_pairs_that_are_not_there_are_one_sentence() -> None:
    with pytest.raises(DiffInfError, match=r"name it by data\.group_column"):
        source(None, [0, 1] * 20, 0.5)
    with pytest.raises(DiffInfError, match="two different trusted labels"):
        source([str(i) for i in range(40)], [0, 1] * 20, 0.5)
