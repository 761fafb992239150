"""Latent optimisation on a tiny generator: what it moves, what it leaves, and that it descends."""

from __future__ import annotations

import typing

import pytest
import torch
from torch import Tensor

from diffinf_core.config import RepairConfig
from diffinf_core.correction.guidance import Inversion, Task, invert
from diffinf_core.correction.methods import METHODS
from diffinf_core.correction.objective import Objective
from diffinf_core.correction.perceptors import Perceptors
from diffinf_core.diffusion.architecture import Architecture, Attribute
from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder

SIZE = 16
LATENT = ("z_sem", "z_sem_x_T")


@pytest.fixture(scope="module")
def generator() -> DiffusionAutoencoder:
    torch.manual_seed(3)
    kinds = (Attribute(name="kind", classes=("a", "b")),)
    model = DiffusionAutoencoder(
        Architecture(
            image_size=SIZE, z_dim=16, patch=2, widths=(16, 24), embed=32, encoder_width=16,
            attributes=kinds, inpaints=True,
        )
    )  # fmt: skip
    for p in model.parameters():  # fresh networks end in zeros, through which no gradient comes
        torch.nn.init.normal_(p, 0, 0.08)
    return model.eval().requires_grad_(False)


def perceptors() -> Perceptors:
    return Perceptors(
        identity=None,
        identity_name="off",
        parsing=None,
        parsing_name="off",
        perceptual=lambda x: [x],
        perceptual_name="pixels",
    )


def brightness(x: Tensor) -> Tensor:
    """A guide that wants dark pictures."""
    return 4 * x.mean((1, 2, 3))


def setting(**over: typing.Any) -> RepairConfig:
    base = {
        "steps": 2,
        "t0": 300,
        "iterations": 6,
        "learning_rate": 0.3,
        "w_id": 0,
        "w_reg": 0,
        "transfer": "none",
    }
    return RepairConfig(**{**base, **over})


def pictures(n: int = 2) -> Tensor:
    torch.manual_seed(5)
    return torch.rand(n, 3, SIZE, SIZE) * 1.2 - 0.6


def labels(n: int, k: int) -> Tensor:
    return torch.full((n, 1), k)


def steps(
    generator: DiffusionAutoencoder, method: str, x: Tensor, config: RepairConfig
) -> tuple[Inversion, list]:
    y = torch.ones(len(x), dtype=torch.long)
    objective = Objective(config, perceptors(), brightness, lambda p: p, x, y)
    inversion = invert(generator, x, labels(len(x), -1), config)
    task = Task(generator, inversion, labels(len(x), 1), labels(len(x), -1), objective, config)
    return inversion, list(METHODS[method](task))


def test_every_method_of_the_configuration_exists() -> None:
    annotation = RepairConfig.model_fields["method"].annotation
    assert set(typing.get_args(annotation)) == set(METHODS)


@pytest.mark.parametrize("method", LATENT)
def test_the_objective_falls_and_every_step_says_so(
    generator: DiffusionAutoencoder, method: str
) -> None:
    _, made = steps(generator, method, pictures(), setting())
    assert [s.done for s in made] == list(range(1, 8)) and {s.total for s in made} == {7}
    first, last = made[0].terms["influence"], made[-1].terms["influence"]
    assert (last < first - 1e-3).all()
    # the last step's terms are those of the picture that is handed out
    again = torch.nn.functional.softplus(brightness(made[-1].x0))
    torch.testing.assert_close(last, again)


def test_more_freedom_reaches_further(generator: DiffusionAutoencoder) -> None:
    ends = [
        steps(generator, m, pictures(), setting())[1][-1].terms["influence"].mean() for m in LATENT
    ]
    assert ends[1] < ends[0]


@pytest.mark.parametrize("method", LATENT)
def test_the_codes_of_the_inversion_are_not_touched(
    generator: DiffusionAutoencoder, method: str
) -> None:
    inversion, made = steps(generator, method, pictures(), setting())
    fresh = invert(generator, pictures(), labels(2, -1), setting())
    for name in ("z_sem", "x_T", "reconstruction"):
        value = getattr(inversion, name)
        torch.testing.assert_close(value, getattr(fresh, name))
        assert not value.requires_grad
    assert not any(s.x0.requires_grad for s in made)
    assert all(p.grad is None for p in generator.parameters())


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_picture_is_edited_as_if_it_were_alone(
    generator: DiffusionAutoencoder, method: str
) -> None:
    x = pictures(3)
    _, together = steps(generator, method, x, setting(iterations=3))
    _, alone = steps(generator, method, x[1:2], setting(iterations=3))
    torch.testing.assert_close(together[-1].x0[1:2], alone[-1].x0, atol=2e-5, rtol=1e-4)


def test_with_no_weight_nothing_moves(generator: DiffusionAutoencoder) -> None:
    config = setting(w_si=0, guidance=1.0)
    _, made = steps(generator, "z_sem_x_T", pictures(), config)
    torch.testing.assert_close(made[0].x0, made[-1].x0)
    assert made[0].terms == {}
