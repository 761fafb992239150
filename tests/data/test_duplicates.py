"""Near-duplicates: nothing within seven bits is missed, nothing unlike is called alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from diffinf_core.config import make_config
from diffinf_core.data import alike, duplicates
from diffinf_core.data.alike import (
    MOST_BITS,
    correlation,
    grey_thumbnails,
    hashes,
    near_duplicates,
    near_hashes,
)
from diffinf_core.data.duplicates import DUPLICATES, read_duplicates
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import open_training
from diffinf_core.records import DiffInfError
from diffinf_core.runs.run import Run

Pair = tuple[int, int]


def pairs_of(codes: np.ndarray) -> set[Pair]:
    out: set[Pair] = set()
    for _, _, (i, j) in near_hashes(codes):
        out |= {(min(p), max(p)) for p in zip(i.tolist(), j.tolist(), strict=True)}
    return out


def scenes(n: int, seed: int = 0) -> np.ndarray:
    """Smooth pictures, uint8 (n, 64, 64, 3), each its own."""
    draw = np.random.default_rng(seed)
    small = draw.uniform(0, 255, (n, 8, 8, 3)).astype(np.uint8)
    grown = [Image.fromarray(s).resize((64, 64), Image.Resampling.BICUBIC) for s in small]
    return np.stack([np.asarray(g) for g in grown])


# ---------------------------------------------------------------- thumbnails and hashes


def test_thumbnails_are_means_of_blocks_in_luma() -> None:
    image = np.zeros((1, 64, 64, 3), np.uint8)
    image[0, :2, :2] = [[[100, 0, 0], [100, 0, 0]], [[0, 0, 0], [0, 0, 0]]]
    image[0, 2:4, 2:4] = [10, 200, 50]
    found = grey_thumbnails(image)
    assert found.shape == (1, 32, 32) and found.dtype == np.uint8
    assert found[0, 0, 0] == 15  # 0.299 * 100 / 2
    assert found[0, 1, 1] == round(0.299 * 10 + 0.587 * 200 + 0.114 * 50)
    assert int(found.sum()) == int(found[0, 0, 0]) + int(found[0, 1, 1])


def test_a_hash_does_not_know_brightness_or_contrast() -> None:
    grey = grey_thumbnails(scenes(20))
    changed = np.clip(grey.astype(float) * 0.8 + 20, 0, 255).astype(np.uint8)
    assert np.bitwise_count(hashes(grey) ^ hashes(changed)).max() <= 4
    assert (hashes(grey) >> np.uint64(63) == 0).all()
    assert len(set(hashes(grey).tolist())) == 20


def test_hashes_do_not_depend_on_how_many_are_taken_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grey = grey_thumbnails(scenes(11))
    whole = hashes(grey)
    monkeypatch.setattr(alike, "SLICE", 4)
    np.testing.assert_array_equal(hashes(grey), whole)


# ---------------------------------------------------------------- looking up


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 120), most=st.integers(1, 12))
def test_every_pair_within_seven_bits_is_found_and_no_other(seed: int, n: int, most: int) -> None:
    draw = np.random.default_rng(seed)
    codes = draw.integers(0, 2**63, n, np.uint64)
    for i in range(1, n):  # half of them are an earlier one with some bits turned
        if draw.random() < 0.5:
            turned = draw.choice(63, draw.integers(0, most + 1), replace=False)
            mask = np.bitwise_or.reduce(np.uint64(1) << turned.astype(np.uint64), initial=0)
            codes[i] = codes[draw.integers(i)] ^ np.uint64(mask)
    apart = np.bitwise_count(codes[:, None] ^ codes[None])
    i, j = np.nonzero(np.triu(apart <= MOST_BITS, 1))
    assert pairs_of(codes) == set(zip(i.tolist(), j.tolist(), strict=True))


def test_pieces_do_not_change_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.random.default_rng(0).integers(0, 64, 300).astype(np.uint64)
    whole = pairs_of(codes)
    monkeypatch.setattr(alike, "_CHUNK", 37)
    assert pairs_of(codes) == whole and len(whole) > 1000


def test_a_crowd_of_the_same_picture_stays_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alike, "CROWD", 5)
    codes = np.full(400, 7, np.uint64)
    found = list(near_hashes(codes))
    assert sum(len(i) for _, _, (i, _) in found) <= 4 * 5 * 400
    assert {(k, k + 1) for k in range(399)} <= pairs_of(codes)
    assert [(d, t) for d, t, _ in found] == sorted((d, t) for d, t, _ in found)
    assert found[-1][0] == found[-1][1]


# ---------------------------------------------------------------- pairs


def test_correlation_is_pearsons() -> None:
    grey = grey_thumbnails(scenes(6))
    first, second = np.array([0, 2, 4]), np.array([1, 3, 5])
    expected = [
        np.corrcoef(grey[a].ravel(), grey[b].ravel())[0, 1]
        for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(correlation(grey, first, second), expected, atol=1e-5)
    flat = np.stack([np.full((32, 32), v, np.uint8) for v in (9, 9, 200)])
    np.testing.assert_array_equal(
        correlation(flat, np.array([0, 0]), np.array([1, 2])), np.float32([1, 0])
    )


def test_copies_are_found_and_strangers_are_not() -> None:
    images = scenes(200)
    draw = np.random.default_rng(1)
    noisy = np.clip(images[:8] * 0.9 + 12 + draw.normal(0, 4, (8, 64, 64, 3)), 0, 255)
    grey = grey_thumbnails(np.concatenate([images, noisy.astype(np.uint8), images[50:51]]))
    *_, (done, total, found) = near_duplicates(grey)
    assert done == total
    expected = {(i, 200 + i) for i in range(8)} | {(50, 208)}
    assert set(zip(found["first"], found["second"], strict=True)) == expected
    assert found["correlation"].is_monotonic_decreasing
    assert found.loc[0, ["first", "second"]].tolist() == [50, 208]
    assert found["correlation"][0] == pytest.approx(1)


def test_no_more_pairs_are_kept_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alike, "MOST_PAIRS", 7)
    grey = np.repeat(grey_thumbnails(scenes(1)), 30, 0)
    *_, (_, _, found) = near_duplicates(grey)
    assert len(found) == 7


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Twenty pictures, of which two are nearly the same under different labels, and two identical."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    images = scenes(20)
    images[19] = images[0]
    images[18] = np.clip(images[2].astype(int) + 9, 0, 255)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:02d}.png")
    labels = ["a" if i % 2 else "b" for i in range(20)]
    labels[18] = "a"
    lines = [f"{i:02d}.png,{label}" for i, label in enumerate(labels)]
    (folder / "labels.csv").write_text("\n".join(["file,label", *lines]) + "\n")
    over = {
        "data": {"source": "folder", "path": str(folder), "image_size": 64},
        "split": {"val_share": 0.2, "test_share": 0.2, "seed": 10},
        "noise": {"rate": 0},
    }
    run = Run.prepare(tmp_path / "run", make_config("demo", over)).store()
    for _ in DATA.compute(run):
        pass
    monkeypatch.setattr(duplicates, "SLICE", 4)
    return run


def test_a_run_finds_its_pairs_once(run: Run) -> None:
    with pytest.raises(DiffInfError, match="have not been computed"):
        read_duplicates(run)
    events = list(DUPLICATES.compute(run))
    train = open_training(run)
    name = dict(zip(train.ids.tolist(), train.table["file"], strict=True))
    expected = {("00.png", "19.png"), ("02.png", "18.png")}
    found = read_duplicates(run)
    pairs = {
        tuple(sorted((name[a], name[b])))
        for a, b in zip(found["first"], found["second"], strict=True)
    }
    assert (
        pairs == expected
        and [e.note for e in events[-2:-1]] == ["2 pairs"]
        and events[-1].note.startswith("done in")
    )
    assert [e.note for e in DUPLICATES.compute(run)] == ["done already"]
    assert not list(DUPLICATES.folder(run).path.glob("slice-*"))


def test_a_stopped_search_keeps_its_thumbnails(run: Run) -> None:
    work = DUPLICATES.compute(run)
    while next(work).done < 8:
        pass
    work.close()
    kept = sorted(DUPLICATES.folder(run).path.glob("slice-*"))
    assert len(kept) == 2
    assert next(DUPLICATES.compute(run)).done == 8


def test_none_found_is_an_empty_table(copy: Callable[[], Run], monkeypatch) -> None:
    run = copy()
    monkeypatch.setattr(alike, "LEAST_CORRELATION", 1.1)
    list(DUPLICATES.compute(run))
    assert read_duplicates(run).empty
