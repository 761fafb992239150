"""The ways to an edit, behind one interface: codes in, a picture per step out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor

from diffinf_core.config import RepairConfig
from diffinf_core.correction.guidance import GuidedStep, Inversion, guided_decode
from diffinf_core.correction.latent import optimise_both, optimise_z_sem
from diffinf_core.correction.objective import Objective
from diffinf_core.diffusion.autoencoder import Autoencoder


class Method(Protocol):
    """Edit a batch, a step per event; the last step's x_0 is the edit, before anything is transferred.

    ``label`` and ``away`` (B, attributes) are what the generator is led to and from, None where it is told
    nothing. Each picture's result depends on its own row alone. The caller may stop at any step.
    """

    def __call__(
        self,
        generator: Autoencoder,
        inversion: Inversion,
        label: Tensor | None,
        away: Tensor | None,
        objective: Objective,
        config: RepairConfig,
    ) -> Iterator[GuidedStep]: ...


#: by the name that ``repair.method`` gives them
METHODS: dict[str, Method] = {
    "guided": guided_decode,
    "z_sem": optimise_z_sem,
    "z_sem_x_T": optimise_both,
}
