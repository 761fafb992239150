"""Colours in L*a*b* by published values."""

from __future__ import annotations

import pytest
import torch

from diffinf_core.correction.colour import (
    colour_shift,
    coloured,
    colours_by_light,
    keep_colour,
    lab,
)
from diffinf_core.diffusion.autoencoder import grey


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


def test_an_edit_keeps_the_mean_colour_and_what_did_not_change() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 64, 64, generator=rng) - 0.6
    edit = x.clone()
    edit[:, 0, 10:46, 10:46] -= 0.2
    edit[:, 2, 10:46, 10:46] += 0.1
    edit[:, :, 20:24, 20:24] = -1
    kept = keep_colour(x, edit)
    assert (colour_shift(x, edit) > 3).all()
    torch.testing.assert_close(colour_shift(x, kept).float(), torch.zeros(2), atol=1e-3, rtol=0)
    # an edge fades over an eighth of the side
    assert torch.equal(kept[..., 51:, :], edit[..., 51:, :])
    assert not torch.equal(kept[..., 46:50, 30], edit[..., 46:50, 30])
    torch.testing.assert_close(kept[:, :, 20:24, 20:24], edit[:, :, 20:24, 20:24])
    assert (kept[:, 0, 12:44, 12:44] >= edit[:, 0, 12:44, 12:44]).all()


def test_where_nothing_changed_or_all_is_black_no_colour_is_made_up() -> None:
    x = torch.rand(1, 3, 64, 64) - 0.6
    torch.testing.assert_close(keep_colour(x, x.clone()), x)
    black = torch.full_like(x, -1)
    assert torch.equal(keep_colour(x, black), black)


def test_a_grey_drawing_takes_its_colours_from_what_is_as_light_nearby() -> None:
    """Teeth in the place of lips are as white as what is as light as they are."""
    light, dark = torch.tensor([0.55, 0.5, 0.4]), torch.tensor([-0.3, -0.6, -0.55])
    x = torch.empty(1, 3, 64, 64)
    x[:] = light[:, None, None]
    x[..., 24:40, :] = dark[:, None, None]
    swapped = torch.empty_like(x)
    swapped[:] = grey(x)[..., 30:31, 30:31]
    swapped[..., 24:40, :] = grey(x)[..., :1, :1]
    got = coloured(swapped, colours_by_light(x))
    near = (slice(None), slice(None), slice(20, 44))
    want = x.clone()
    want[..., :24, :] = want[..., 40:, :] = dark[:, None, None]
    want[..., 24:40, :] = light[:, None, None]
    torch.testing.assert_close(got[near], want[near], atol=0.05, rtol=0)
    # nothing of a grey picture is coloured, and lightness is the drawing's
    torch.testing.assert_close(coloured(swapped, colours_by_light(grey(x))), swapped)
    torch.testing.assert_close(grey(got), swapped, atol=1e-5, rtol=0)
