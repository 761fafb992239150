"""The scale of an identity cosine, on vectors whose answers are known."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.correction.people import People
from diffinf_core.data.overlay import Pictures
from diffinf_core.data.part import Part
from diffinf_core.runs.run import StageFolder


def corner(x: Tensor) -> Tensor:
    """An identity network that reads a person from the top left pixel, whatever else is there."""
    return F.normalize(x[:, :, 0, 0], dim=1)


def part(names: list[str], group: str | None = "who") -> Part:
    colours = {"ann": (255, 0, 0), "bob": (0, 255, 0), "eve": (255, 60, 0)}
    images = np.zeros((len(names), 8, 8, 3), np.uint8)
    for i, name in enumerate(names):
        images[i] = colours[name]
    ids = np.array([f"{i:012x}" for i in range(len(names))])
    table = pd.DataFrame({"id": ids, "file": ids, "who": names})
    pictures = Pictures(images, np.zeros(0, np.int64), images[:0])
    labels = np.zeros(len(names), np.int64)
    return Part(ids, labels, ("a", "b"), table, pictures, np.arange(len(names)), group)


def people(tmp_path: Path, names: list[str], group: str | None = "who") -> People:
    stage = StageFolder(tmp_path / "people", "k")
    return People(stage, part(names, group), corner, torch.device("cpu"))


def vectors(train: Part, rows: list[int]) -> Tensor:
    return corner(train.tensors(rows))


def test_the_nearest_stranger_is_another_person(tmp_path: Path) -> None:
    names = ["ann", "bob", "eve", "ann"]
    found = people(tmp_path, names)
    v = vectors(part(names), [0, 1])
    expected = [float(vectors(part(names), [2])[0] @ v[0]), None]
    near = found.nearest(v, np.array([0, 1]))
    assert near[0] == pytest.approx(expected[0])
    assert near[1] == pytest.approx(float((vectors(part(names), [0, 2, 3]) @ v[1]).max()))


def test_the_own_spread_comes_from_the_persons_other_pictures(tmp_path: Path) -> None:
    names = ["ann", "bob", "ann", "eve"]
    found, train = people(tmp_path, names), part(names)
    x = train.tensors([0, 1])
    own = found.own(x, corner(x), np.array([0, 1]))
    assert own[0] == pytest.approx(1)  # ann's other picture
    assert own[1] == pytest.approx(1, abs=0.1)  # bob's only one, disturbed


def test_without_a_column_everybody_is_somebody_else(tmp_path: Path) -> None:
    found = people(tmp_path, ["ann", "ann", "bob"], group=None)
    near = found.nearest(vectors(part(["ann", "ann", "bob"]), [0]), np.array([0]))
    assert near == [pytest.approx(1)]
    assert found.strangers == pytest.approx(1, abs=0.05)


def test_one_person_alone_has_no_strangers(tmp_path: Path) -> None:
    found = people(tmp_path, ["ann", "ann"])
    assert found.strangers == 0
    assert found.nearest(vectors(part(["ann", "ann"]), [0]), np.array([0])) == [None]


def test_the_sample_is_looked_at_once(tmp_path: Path) -> None:
    found = people(tmp_path, ["ann", "bob"])
    assert list(found.prepare()) == [(2, 2)]
    assert list(people(tmp_path, ["ann", "bob"]).prepare()) == []


@given(st.lists(st.sampled_from(["ann", "bob", "eve"]), min_size=1, max_size=40), st.booleans())
def test_a_persons_other_pictures_are_those_of_the_same_name(names: list[str], known: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        someone = people(Path(folder), names, "who" if known else None)
    for position, name in enumerate(names):
        same = [i for i, other in enumerate(names) if other == name and i != position]
        assert someone.others_of(position).tolist() == (same if known else [])
