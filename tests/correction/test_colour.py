"""Colours in L*a*b* by published values."""

from __future__ import annotations

import pytest
import torch

from diffinf_core.correction.colour import colour_shift, lab


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((119, 119, 119), (50.03, 0, 0)),
    ],
)
def test_primaries_have_their_published_coordinates(
    rgb: tuple[int, ...], expected: tuple[float, ...]
) -> None:
    found = lab(torch.tensor(rgb) / 127.5 - 1)
    torch.testing.assert_close(found, torch.tensor(expected).double(), atol=0.02, rtol=0)


def test_only_the_middle_counts() -> None:
    x = torch.zeros(2, 3, 32, 32)
    edit = x.clone()
    edit[0, :, :8] = 1
    edit[1, :, 8:24, 8:24] = 1
    shift = colour_shift(x, edit)
    assert shift[0] == 0 and shift[1] == pytest.approx(100 - lab(torch.zeros(3))[0].item())
