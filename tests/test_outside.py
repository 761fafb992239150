"""What the benchmarks of photographs measure of the person and the pose, in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.outside import five, pose, threshold

FACE = np.array([[[40.0, 50.0], [90.0, 50.0], [65.0, 80.0], [45.0, 105.0], [85.0, 105.0]]])


def test_a_pose_is_where_the_nose_is_beside_the_eyes() -> None:
    assert pose(FACE)[0].tolist() == [0.0, 60.0]
    turned = FACE.copy()
    turned[0, 2] += [5, -10]
    assert pose(turned)[0] == pytest.approx([10, 40])


def test_a_face_that_is_moved_larger_or_leaning_has_the_same_pose() -> None:
    c, s = np.cos(0.3), np.sin(0.3)
    other = 1.7 * FACE @ np.array([[c, s], [-s, c]]) + [4, -9]
    assert pose(other) == pytest.approx(pose(FACE))


def test_a_mouth_is_no_part_of_the_pose() -> None:
    smiling = FACE.copy()
    smiling[0, 3:] += [-6, 4]
    assert np.array_equal(pose(smiling), pose(FACE))


def test_five_points_of_sixty_eight() -> None:
    landmarks = np.repeat(np.arange(68.0)[None, :, None], 2, 2)
    assert five(landmarks)[0, :, 0].tolist() == [38.5, 44.5, 30, 48, 54]


def test_one_pair_of_strangers_in_a_thousand_passes() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((300, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    who = np.arange(300).astype(str)
    cosines = (vectors @ vectors.T)[np.triu_indices(300, 1)]
    assert (cosines > threshold(vectors, who)).mean() == pytest.approx(0.001, abs=3e-5)


def test_the_same_person_twice_is_no_pair_of_strangers() -> None:
    vectors = np.eye(4)[[0, 0, 1, 2]]
    assert threshold(vectors, np.array(list("aabc"))) == 0
    assert threshold(vectors, None) > 0.9
