"""Latent optimisation (section 3.5, read plainly): Adam on the codes, through the whole decoding.

An iteration decodes the picture with gradients, weighs the objective, and moves z_sem; with x_T free as
well there is room for patterns that please the guide and that no person sees.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from diffinf_core.config import RepairConfig
from diffinf_core.correction.guidance import GuidedStep, Inversion, predicted, transfer
from diffinf_core.correction.objective import Objective
from diffinf_core.diffusion import sampling
from diffinf_core.diffusion.autoencoder import Autoencoder

#: x_T moves at this share of z_sem's rate: it has a hundred times more numbers
X_T_RATE = 0.3


def optimise_z_sem(
    generator: Autoencoder,
    inversion: Inversion,
    label: Tensor | None,
    away: Tensor | None,
    objective: Objective,
    config: RepairConfig,
) -> Iterator[GuidedStep]:
    """Equation 9 minimised over z_sem, with x_T fixed to the inversion; a step per iteration."""
    return _optimise(generator, inversion, label, away, objective, config, both=False)


def optimise_both(
    generator: Autoencoder,
    inversion: Inversion,
    label: Tensor | None,
    away: Tensor | None,
    objective: Objective,
    config: RepairConfig,
) -> Iterator[GuidedStep]:
    """Equation 9 minimised over z_sem and x_T."""
    return _optimise(generator, inversion, label, away, objective, config, both=True)


def _optimise(
    generator: Autoencoder,
    inversion: Inversion,
    label: Tensor | None,
    away: Tensor | None,
    objective: Objective,
    config: RepairConfig,
    both: bool,
) -> Iterator[GuidedStep]:
    z = inversion.z_sem.detach().clone().requires_grad_(True)
    x_T = inversion.x_T.detach().clone().requires_grad_(both)
    rates = [{"params": [z], "lr": config.learning_rate}]
    if both:
        rates.append({"params": [x_T], "lr": config.learning_rate * X_T_RATE})
    optimiser = torch.optim.Adam(rates)

    def predict(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
        return predicted(generator, x_t, t, z, label, away, config.guidance)

    def decoded() -> Tensor:
        return sampling.decode(sampling.frugal(predict), x_T, config.steps, config.t0)

    x, total = objective.reference.x, config.iterations + 1
    for i in range(config.iterations):
        # no gradient mode stays switched while the caller has the picture
        with torch.enable_grad():
            x0 = decoded()
            terms = objective.terms(transfer(x, x0, inversion.reconstruction, config.transfer))
            if terms:
                optimiser.zero_grad(set_to_none=True)
                # a picture's codes feel its own terms alone, so a batch is as good as one by one
                objective.loss(terms).sum().backward()
                optimiser.step()
        yield GuidedStep(i + 1, total, x0.detach(), {k: v.detach() for k, v in terms.items()})
    with torch.no_grad():
        x0 = decoded()
        terms = objective.terms(transfer(x, x0, inversion.reconstruction, config.transfer))
    yield GuidedStep(total, total, x0, terms)
