"""How many edits show their class while a generator trains."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from diffinf_core.diffusion.architecture import Architecture, Attribute
from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder
from diffinf_core.diffusion.monitor import EDITED, HeldOut, edit_figures, faded

CLASSES = ("dark", "light", "grey")


#: what is drawn for each class; for none 0.1
SHADES = torch.tensor([-0.6, 0.6, 0.0])


def _drawn(x_t: Tensor, t: int, z: Tensor, label: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    shade = torch.where(label[:, 0] < 0, 0.1, SHADES[label[:, 0]])
    return shade[:, None, None, None].expand_as(x_t), torch.zeros_like(x_t)


def _model(monkeypatch: pytest.MonkeyPatch) -> DiffusionAutoencoder:
    """Draws one shade for each class."""
    shade = Attribute(name="shade", classes=CLASSES)
    light = Attribute(name="light", classes=("a", "b"), covariate=True)
    model = DiffusionAutoencoder(
        Architecture(
            image_size=64, z_dim=8, widths=(8, 8), embed=8, encoder_width=8,
            attributes=(shade, light),
        )
    )  # fmt: skip
    monkeypatch.setattr(model, "predict", _drawn)
    return model.eval()


def _judge(x: Tensor) -> Tensor:
    """Sees what is darker than -0.3 as dark, and all else as light."""
    dark = (x.mean((1, 2, 3)) < -0.3).float()
    return torch.stack([dark, 1 - dark, torch.zeros_like(dark)], 1)


def test_the_edits_of_each_class_are_counted_that_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    x = torch.rand(EDITED + 4, 3, 64, 64) - 0.5
    conditions = torch.tensor([[-1, 0]]).repeat(len(x), 1)
    found = edit_figures(_model(monkeypatch), HeldOut(x, x, conditions, _judge))
    # dark and light are drawn as asked, grey is taken for light
    assert found["turned"] == pytest.approx(2 / 3)
    assert found["edit_lpips"] > 0.1


def test_without_a_judge_or_labels_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(3, 3, 64, 64)
    assert edit_figures(_model(monkeypatch), HeldOut(x, x, torch.full((3, 2), -1))) == {}
    bare = DiffusionAutoencoder(
        Architecture(image_size=64, z_dim=8, widths=(8, 8), embed=8, encoder_width=8)
    )
    assert edit_figures(bare.eval(), HeldOut(x, x, None, _judge)) == {}


def test_a_training_in_which_the_labels_fade_is_named() -> None:
    nan = float("nan")
    rows = [
        {"step": 50, "turned": nan},
        {"step": 1000, "turned": 0.9},
        {"step": 2000, "turned": 0.7},
        {"step": 2050},
    ]
    note = faded(rows, 0.6, 4000, 8.0)
    assert "60% of the held-out edits" in note and "90% did after 1,000 steps" in note
    assert "about 2 minutes" in note and "about 1,000 minutes" in faded(rows, 0.6, 4000, 4000.0)
    assert faded(rows, 0.8, 4000, 8.0) == "" and faded(rows[:1], 0.0, 4000, 8.0) == ""
