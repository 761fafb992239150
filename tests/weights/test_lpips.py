"""LPIPS by the network that ships."""

from __future__ import annotations

import torch

from diffinf_core.weights.files import load_weights, shipped
from diffinf_core.weights.lpips import LpipsAlex, perceptual_distance


def test_the_distance_is_zero_of_equal_pictures_symmetric_and_grows_with_the_change() -> None:
    net = load_weights(shipped("lpips"), LpipsAlex())
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 64, 64, generator=draw) * 2 - 1
    noise = torch.randn(x.shape, generator=draw)
    a, near, far = (net((x + s * noise).clamp(-1, 1)) for s in (0.0, 0.1, 0.4))
    assert perceptual_distance(a, net(x)).tolist() == [0, 0]
    torch.testing.assert_close(perceptual_distance(a, far), perceptual_distance(far, a))
    assert (perceptual_distance(a, near) > 0).all()
    assert (perceptual_distance(a, near) < perceptual_distance(a, far)).all()
