"""Flags and image figures by closed form."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from diffinf_core.correction import quality
from diffinf_core.correction.quality import (
    changed_pixels,
    drift_threshold,
    flags_of,
    fraction,
    sharpness,
    strongest_change,
)
from diffinf_core.correction.usual import FLAG
from diffinf_core.records import FLAGS


def found(**over: Any) -> dict[str, Any]:
    """The figures of an edit with which nothing is wrong; the label is the first of two classes."""
    fine = {
        "judge_before": [0.1, 0.9],
        "judge_after": [0.9, 0.1],
        "h_before": 0.6,
        "h_after": 0.02,
        "l1": 5.0,
        "identity": 0.95,
        "identity_own": 0.9,
        "identity_stranger": 0.3,
        "sharpness": 1.0,
        "changed_outside": 0.01,
        "colour_shift": 5.9,
        "colour_shift_floor": 3.0,
        "male_before": 0.4,
        "male_after": 0.6,
    }
    return fine | over


def test_a_good_edit_has_no_flag() -> None:
    assert flags_of(found(), 0, 0.4) == {}


@pytest.mark.parametrize(
    ("over", "flag", "figure"),
    [
        ({"judge_after": [0.1, 0.9], "h_after": 0.05}, "adversarial", "0.05"),
        # halved, though not below a tenth
        ({"judge_after": [0.1, 0.9], "h_after": 0.25}, "adversarial", "0.25"),
        ({"judge_after": [0.1, 0.9], "h_after": 0.5}, "judge disagrees", "0.10"),
        (
            {"judge_before": [0.9, 0.1], "judge_after": [0.3, 0.7], "h_after": 0.6},
            "label lost",
            "judge",
        ),
        ({"identity": 0.6}, "identity drift", "0.60"),
        ({"identity": 0.8, "identity_stranger": 0.85}, "identity drift", "0.85"),
        ({"sharpness": 0.5}, "blurred", "50%"),
        ({"changed_outside": 0.4}, "background changed", "40%"),
        ({"l1": 0.1}, "no visible change", "0.10"),
        ({"colour_shift": 6.2, "colour_shift_floor": 3.1}, "covariate drift", "6.2"),
        ({"male_before": 0.2, "male_after": 0.8}, "covariate drift", "0.80"),
    ],
)
def test_each_flag_says_its_figure(over: dict[str, Any], flag: str, figure: str) -> None:
    flags = flags_of(found(**over), 0, 0.4)
    assert figure in flags[flag]


def test_h_that_did_not_fall_is_not_adversarial() -> None:
    flags = flags_of(found(judge_after=[0.1, 0.9], h_before=0.3, h_after=0.29), 0, 0.4)
    assert "adversarial" not in flags and "judge disagrees" in flags


def test_a_domain_without_faces_has_no_identity_flag() -> None:
    flags = flags_of(found(identity=None, identity_own=None, identity_stranger=None), 0, None)
    assert flags == {}


def test_drift_lies_halfway_between_strangers_and_the_person() -> None:
    assert drift_threshold(0.9, 0.5) == pytest.approx(0.7)
    assert drift_threshold(0.3, 0.5) == 0.5  # a network that cannot tell them apart


def test_blur_costs_detail_and_noise_adds_it() -> None:
    torch.manual_seed(0)
    x = torch.rand(4, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(sharpness(x, x), torch.ones(4))
    assert (sharpness(x, F.avg_pool2d(x, 3, 1, 1)) < 0.5).all()
    assert (sharpness(x, x + torch.randn_like(x)) > 1.1).all()
    flat = torch.zeros(1, 3, 32, 32)
    assert torch.isfinite(sharpness(flat, flat)).all()


@pytest.mark.parametrize("side,window", [(32, 1), (64, 3), (128, 5)])
def test_a_spot_is_a_strong_change_and_scattered_pixels_are_not(side: int, window: int) -> None:
    x = torch.zeros(3, 3, side, side)
    edit = x.clone()
    spot = side // 8  # 1.6 % of the picture
    edit[0, :, side // 2 : side // 2 + spot, side // 2 : side // 2 + spot] = -1
    edit[1, :, 4::7, 4::7] = -1  # more pixels, apart
    edit[2] = 0.1  # all of it, a little
    found = strongest_change(x, edit)
    torch.testing.assert_close(found[2], torch.tensor(12.75))
    torch.testing.assert_close(found[1], torch.tensor(127.5 / window**2))
    assert 0.8 * 127.5 < found[0] <= 127.5
    torch.testing.assert_close(strongest_change(edit, x), found)
    assert not strongest_change(x, x).any()


def test_changed_pixels_are_counted_where_they_are_asked_for() -> None:
    x = torch.zeros(2, 3, 8, 8)
    edit = x.clone()
    edit[0, :, :4] = 0.2  # 25 levels
    edit[1, :, :4] = 0.05  # 6 levels
    changed = changed_pixels(x, edit)
    assert fraction(changed).tolist() == [0.5, 0.0]
    top = torch.zeros(2, 8, 8, dtype=torch.bool)
    top[:, :2] = True
    assert fraction(changed, top).tolist() == [1.0, 0.0]
    assert fraction(changed, torch.zeros_like(top)).tolist() == [0.0, 0.0]


def test_every_flag_is_in_the_list_that_others_read() -> None:
    given = {
        node.slice.value: node.lineno
        for node in ast.walk(ast.parse(inspect.getsource(quality)))
        if isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.slice, ast.Constant)
    }
    assert [*sorted(given, key=given.__getitem__), FLAG] == list(FLAGS)


def test_nobody_keeps_another_list_of_flags() -> None:
    package = Path(quality.__file__).parents[1]
    for file in package.rglob("*.py"):
        if file.name in ("records.py", "quality.py", "usual.py"):
            continue
        names = [
            n.value for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Constant)
        ]
        assert len({f for f in FLAGS if f in names}) < 2, file
