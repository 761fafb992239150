"""A generator whose errors are known says where an edit cannot be explained."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from diffinf_core.correction.realism import CELLS, TIME, implausibility
from diffinf_core.diffusion.autoencoder import Autoencoder
from tests.correction.test_latent_editing import generator


class Remembers:
    """Explains one picture up to an even error, and of any other nothing but that."""

    def __init__(self, known: Tensor, error: float) -> None:
        self.known, self.error = known, error

    def latent(self, x: Tensor) -> Tensor:
        return x

    def predict(
        self, x_t: Tensor, t: int, z: Tensor, label: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        assert t == TIME and label is None
        return self.known[: len(x_t)] + self.error, x_t


def test_it_is_the_largest_local_rise_over_the_mean_error_of_the_original() -> None:
    x = torch.zeros(3, 3, 64, 64)
    edit = x.clone()
    edit[1, :, :12, :12] = -0.2  # nine whole cells of four pixels
    edit[2, :, :4, :4] = -0.2  # one of nine
    model = cast(Autoencoder, Remembers(x, 0.1))
    found = implausibility(model, x, edit, None, torch.zeros(3, 4))
    assert 64 // CELLS == 4
    # errors of 0.1 ** 2 and 0.3 ** 2
    assert found.tolist() == pytest.approx([0, 8, 8 / 9], abs=1e-5)


def test_a_picture_does_not_depend_on_its_batch_and_no_change_is_none() -> None:
    model: Any = generator()
    x = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8
    edit = x.flip(3)
    z, unknown = model.encode(x), torch.full((3, 2), -1)
    found = implausibility(model, x, edit, unknown, z)
    alone = implausibility(model, x[2:], edit[2:], unknown[2:], z[2:])
    torch.testing.assert_close(found[2:], alone, atol=1e-5, rtol=1e-4)
    assert implausibility(model, x, x, unknown, z).abs().max() == 0
