"""Latent optimisation (section 3.5, taken literally): Adam on the codes, through the whole decoding.

An iteration decodes the picture with gradients, evaluates the objective, and updates z_sem. With x_T free
as well, adversarial patterns become possible that satisfy h_omega and that no person sees.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from diffinf_core.correction.guidance import GuidedStep, Task
from diffinf_core.diffusion import sampling

#: learning rate of x_T as a fraction of z_sem's: it has a hundred times as many dimensions
X_T_RATE = 0.3


def optimise(task: Task, both: bool) -> Iterator[GuidedStep]:
    """Equation 9 minimised over z_sem with x_T fixed to the inversion, or over ``both``."""
    config, objective = task.config, task.objective
    z = task.inversion.z_sem.detach().clone().requires_grad_(True)
    x_T = task.inversion.x_T.detach().clone().requires_grad_(both)
    rates = [{"params": [z], "lr": config.learning_rate}]
    if both:
        rates.append({"params": [x_T], "lr": config.learning_rate * X_T_RATE})
    optimiser = torch.optim.Adam(rates)
    predict = sampling.with_gradient_checkpointing(lambda x_t, t: task.predict(x_t, t, z))

    def decoded() -> tuple[Tensor, dict[str, Tensor]]:
        x0 = sampling.decode(predict, x_T, config.steps, config.t0)
        return x0, task.objective.terms(task.pictures(x0))

    total = config.iterations + 1
    for i in range(config.iterations):
        # the gradient mode is restored before the caller gets the picture
        with torch.enable_grad():
            x0, terms = decoded()
            if terms:
                optimiser.zero_grad(set_to_none=True)
                # each picture's codes depend on its own terms alone, so the batch size does not matter
                objective.loss(terms).sum().backward()
                optimiser.step()
        yield GuidedStep(i + 1, total, x0.detach(), {k: v.detach() for k, v in terms.items()})
    with torch.no_grad():
        x0, terms = decoded()
    yield GuidedStep(total, total, x0, terms)
