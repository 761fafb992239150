"""Pictures for a page: lossless bytes, and a map whose colours are known."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from diffinf_core.data.show import encoded, heat


@pytest.mark.parametrize(
    "change,colour",
    [(0, (18, 20, 32)), (64, (255, 240, 120)), (65, (255, 240, 120)), (200, (255, 240, 120)),
     (32, (184, 75, 80))],
)  # fmt: skip
def test_the_largest_change_of_a_channel_gives_the_colour(
    change: int, colour: tuple[int, int, int]
) -> None:
    before = np.full((4, 4, 3), 20, np.uint8)
    after = before.copy()
    after[1, 2, 1] += change
    after[1, 2, 0] += change // 3
    found = heat(before, after)
    assert found.shape == (4, 4, 3) and found.dtype == np.uint8
    assert tuple(found[1, 2]) == colour == tuple(heat(after, before)[1, 2])
    found[1, 2] = (18, 20, 32)
    assert (found == (18, 20, 32)).all(), "nothing else changed"


def test_a_png_keeps_every_pixel_and_a_webp_is_small() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(encoded(image))) as found:
        np.testing.assert_array_equal(np.asarray(found), image)
    small = encoded(np.zeros((32, 32, 3), np.uint8), "WEBP", quality=85)
    assert small[:4] == b"RIFF" and len(small) < 200
