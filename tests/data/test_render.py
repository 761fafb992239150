"""Rendered faces: the same factors give the same picture, an expression moves only its parts."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation

from diffinf_core.data.rendered import faces as f
from diffinf_core.data.rendered.demo import write_demo_faces
from diffinf_core.data.rendered.render import render_face

Picture = tuple[np.ndarray, np.ndarray]
MOVING = (f.BROW, f.EYE, f.MOUTH)


def photograph(
    seed: int, kind: int = f.NEUTRAL, size: int = 64, strength: float = 1.0, age: float = 0.5
) -> Picture:
    """One person in one photograph; ``kind`` is drawn apart, so nothing else depends on it."""
    draw = np.random.default_rng((seed, 0))
    person, nuisance = f.sample_identity(draw), f.sample_nuisance(draw, strength)
    shown = f.sample_expression(np.random.default_rng((seed, 1)), kind, 0.8 if kind != 1 else None)
    return render_face(person, shown, age, nuisance, size)


def near(mask: np.ndarray, radius: int) -> np.ndarray:
    """Pixels within a distance of a mask."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return binary_dilation(mask, structure=x * x + y * y <= radius * radius)


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The largest difference of each pixel over the colours."""
    return np.abs(a.astype(int) - b).max(2)


@pytest.mark.parametrize("size", [64, 128])
def test_the_same_factors_give_the_same_picture(size: int) -> None:
    for seed in range(4):
        first, again = photograph(seed, f.SAD, size), photograph(seed, f.SAD, size)
        np.testing.assert_array_equal(first[0], again[0])
        np.testing.assert_array_equal(first[1], again[1])
    assert apart(photograph(0)[0], photograph(1)[0]).mean() > 20


@pytest.mark.parametrize("size", [64, 128])
def test_a_picture_has_its_size_and_uses_the_range_of_bytes(size: int) -> None:
    for seed in range(6):
        image, parts = photograph(seed, seed % 4, size)
        assert image.shape == (size, size, 3) and image.dtype == np.uint8
        assert parts.shape == (size, size) and parts.dtype == np.uint8
        assert int(image.max()) - int(image.min()) > 100


@pytest.mark.parametrize("size", [64, 128])
def test_every_face_has_its_parts_inside_the_picture(size: int) -> None:
    hair = brows = 0
    count = 40
    for seed in range(count):
        _, parts = photograph(seed, seed % 4, size, age=seed / count)
        assert parts.max() < len(f.PARTS)
        for part in (f.BACKGROUND, f.SKIN, f.EYE, f.NOSE, f.MOUTH):
            assert (parts == part).any(), f"{seed} has no {f.PARTS[part]}"
        edge = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
        assert not np.isin(edge, (*MOVING, f.NOSE)).any()
        assert 0.2 < np.isin(parts, (f.SKIN, *MOVING, f.NOSE)).mean() < 0.7
        hair += (parts == f.HAIR).any()
        brows += (parts == f.BROW).any()
    assert brows >= count - 2  # a fringe can hide them
    assert hair > 0.75 * count  # one style in eight is bald


def test_the_parts_lie_where_a_face_has_them() -> None:
    for seed in range(30):
        _, parts = photograph(seed, seed % 4, strength=0)
        row = {p: np.nonzero(parts == p)[0].mean() for p in (f.EYE, f.NOSE, f.MOUTH)}
        assert row[f.EYE] < row[f.NOSE] < row[f.MOUTH]
        columns = np.nonzero(parts == f.EYE)[1]
        middle = np.nonzero(parts == f.NOSE)[1].mean()
        assert (columns < middle).any() and (columns > middle).any()


def test_twice_the_size_shows_the_same_face() -> None:
    for seed in range(10):
        small, parts = photograph(seed, seed % 4, 64, strength=0)
        large, more = photograph(seed, seed % 4, 128, strength=0)
        assert (more[::2, ::2] == parts).mean() > 0.94
        halved = large.astype(float).reshape(64, 2, 64, 2, 3).mean((1, 3))
        assert np.abs(halved - small).mean() < 3


@pytest.mark.parametrize("kind", [f.HAPPY, f.SURPRISED, f.SAD])
def test_an_expression_changes_only_pixels_near_brows_eyes_and_mouth(kind: int) -> None:
    """Within ten pixels of 64 (a smile lifts the cheeks) lie all but 0.5 % of the picture."""
    for seed in range(25):
        neutral, before = photograph(seed, f.NEUTRAL)
        shown, after = photograph(seed, kind)
        changed = apart(neutral, shown) > 0
        moving = np.isin(before, MOVING) | np.isin(after, MOVING)
        assert 0.01 < changed.mean() < 0.25
        assert (changed & ~near(moving, 6)).mean() < 0.04
        assert (changed & ~near(moving, 10)).mean() < 0.005
        # The mouth is where it shows.
        mouth = near((before == f.MOUTH) | (after == f.MOUTH), 1)
        assert (changed & mouth).sum() > 0.3 * mouth.sum()


@pytest.mark.parametrize("kind", [f.HAPPY, f.SURPRISED, f.SAD])
def test_an_expression_leaves_the_person_and_the_photograph_alone(kind: int) -> None:
    for seed in range(25):
        neutral, before = photograph(seed, f.NEUTRAL)
        shown, after = photograph(seed, kind)
        still = ~near(np.isin(before, MOVING) | np.isin(after, MOVING), 3)
        for part in (f.HAIR, f.BACKGROUND, f.OTHER):
            np.testing.assert_array_equal(before[still] == part, after[still] == part)
        both = (before == f.SKIN) & (after == f.SKIN)
        drift = np.abs(np.median(neutral[both], 0) - np.median(shown[both], 0)).max()
        assert drift <= 4
        other = photograph(seed + 100, kind)[0]
        assert apart(neutral, shown).mean() < 0.5 * apart(neutral, other).mean()


def test_age_greys_the_hair_and_shrinks_nobodys_face() -> None:
    draw = np.random.default_rng(3)
    person = replace(f.sample_identity(draw), hair=np.array([30.0, 22, 20]), hair_style=f.HAIR_BOB)
    nuisance = replace(f.sample_nuisance(draw, 0), gain=1.0, tint=np.zeros(3))
    shown = f.Expression(f.NEUTRAL, 0.0)
    young, middle, old = (render_face(person, shown, a, nuisance) for a in (0.1, 0.5, 0.95))
    light = [image[parts == f.HAIR].mean() for image, parts in (young, middle, old)]
    assert light[0] < light[1] < light[2] and light[2] > light[0] + 60
    np.testing.assert_allclose((middle[1] == f.HAIR).mean(), (old[1] == f.HAIR).mean(), atol=0.02)


def test_what_a_person_is_shows_in_the_picture() -> None:
    draw = np.random.default_rng(4)
    person, nuisance = f.sample_identity(draw), f.sample_nuisance(draw, 0)
    person = replace(person, glasses=f.NO_GLASSES, beard=f.NO_BEARD, freckles=False, mole=None)
    shown = f.Expression(f.NEUTRAL, 0.0)
    plain, parts = render_face(person, shown, 0.5, nuisance)
    for change in (
        {"glasses": f.ROUND_GLASSES},
        {"beard": f.FULL_BEARD},
        {"freckles": True},
        {"mole": (0.2, 0.3)},
        {"hair_style": (person.hair_style + 1) % 8},
        {"skin": 255 - person.skin},
        {"mouth_y": person.mouth_y + 0.06},
        {"eye_spacing": person.eye_spacing + 0.05},
    ):
        image, _ = render_face(replace(person, **change), shown, 0.5, nuisance)
        assert (apart(plain, image) > 10).sum() > 3, change
    _, rims = render_face(replace(person, glasses=f.SQUARE_GLASSES), shown, 0.5, nuisance)
    assert (rims == f.OTHER).sum() > (parts == f.OTHER).sum() + 20


# ---------------------------------------------------------------- the samplers


def same(a: object, b: object) -> bool:
    """Whether two records hold the same values."""
    return all(
        np.array_equal(
            np.asarray(getattr(a, k.name), object), np.asarray(getattr(b, k.name), object)
        )
        for k in fields(a)  # type: ignore[arg-type]
        if k.name != "background"
    )


def test_a_generator_decides_a_person_a_showing_and_a_photograph() -> None:
    for sample in (f.sample_identity, f.sample_nuisance, lambda r: f.sample_expression(r, f.SAD)):
        first, again, other = (sample(np.random.default_rng(s)) for s in (1, 1, 2))
        assert same(first, again) and not same(first, other)


def test_neutral_is_a_faint_trace_and_the_others_are_clear() -> None:
    draw = np.random.default_rng(0)
    shown = [[f.sample_expression(draw, kind) for _ in range(300)] for kind in range(4)]
    strength = np.array([[e.intensity for e in row] for row in shown])
    assert strength[f.NEUTRAL].max() <= 0.20
    for kind in (f.HAPPY, f.SURPRISED, f.SAD):
        assert strength[kind].min() >= 0.27 and strength[kind].max() <= 1
    assert all(e.kind == kind for kind, row in enumerate(shown) for e in row)
    mean = {k: [np.mean([getattr(e, k) for e in row]) for row in shown] for k in ("curve", "open")}
    assert mean["curve"][f.HAPPY] > 0.3 > abs(mean["curve"][f.NEUTRAL])
    assert mean["curve"][f.SAD] < -0.2
    assert np.argmax(mean["open"]) == f.SURPRISED


def test_ages_come_from_three_ranges_that_do_not_touch() -> None:
    draw = np.random.default_rng(0)
    drawn = np.array([[f.sample_age(draw, kind) for _ in range(300)] for kind in range(3)])
    assert drawn.min() >= 0 and drawn.max() <= 1
    assert (drawn[1:].min(1) - drawn[:-1].max(1) > 0.05).all()


# ---------------------------------------------------------------- the demo's folder


def render(folder: Path, count: int, seed: int, workers: int = 1) -> pd.DataFrame:
    """Write a demo folder and read its table."""
    events = list(write_demo_faces(folder, count, seed, 32, workers))
    assert [e.done for e in events] == sorted({e.done for e in events})
    assert events[-1].done == events[-1].total == count
    return pd.read_csv(folder / "labels.csv", dtype=str)


def pictures(folder: Path) -> dict[str, bytes]:
    """Every picture by name."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.png")}


def test_a_demo_folder_holds_what_its_table_says(tmp_path: Path) -> None:
    table = render(tmp_path, 120, 3)
    assert set(table) == {
        "file", "expression", "age", "identity", "skin", "intensity", "age_value", "parts"
    }  # fmt: skip
    assert len(table) == 120 == table["file"].nunique() == table["identity"].nunique()
    assert set(table["expression"]) == set(f.EXPRESSIONS) and set(table["age"]) == set(f.AGES)
    assert set(table["skin"]) == {"light", "medium", "dark"}
    assert set(pictures(tmp_path)) == set(table["file"]) | set(table["parts"])
    clear = table["expression"] != "neutral"
    assert table.loc[clear, "intensity"].astype(float).min() >= 0.4
    for name in table["parts"][:5]:
        with Image.open(tmp_path / name) as mask:
            assert mask.mode == "L" and mask.size == (32, 32)
            assert np.asarray(mask).max() < len(f.PARTS)


def test_demo_faces_depend_on_the_seed_and_not_on_the_workers_or_the_count(tmp_path: Path) -> None:
    one = render(tmp_path / "one", 60, 3)
    two = render(tmp_path / "two", 70, 3, workers=2)
    other = render(tmp_path / "other", 60, 4)
    pd.testing.assert_frame_equal(one, two.iloc[:60])
    small, large = pictures(tmp_path / "one"), pictures(tmp_path / "two")
    assert all(large[name] == content for name, content in small.items())
    assert small != pictures(tmp_path / "other") and not one.equals(other)


def test_the_table_comes_last_so_that_a_killed_rendering_starts_again(tmp_path: Path) -> None:
    events = write_demo_faces(tmp_path, 120, 3, 32, workers=1)
    next(events)
    events.close()
    assert not (tmp_path / "labels.csv").exists()
    assert len(render(tmp_path, 120, 3)) == 120
