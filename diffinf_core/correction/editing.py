"""An edit apart from any run: what the generator is conditioned on, and the steps from inversion to
finished pictures."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffinf_core.correction.guidance import GuidedStep, Task
from diffinf_core.correction.methods import METHODS
from diffinf_core.data.part import to_image, to_tensor
from diffinf_core.diffusion.autoencoder import Autoencoder
from diffinf_core.diffusion.schedule import abar

#: the generator's vote on what a picture shows: noise level and draws
SEEN_TIME, SEEN_DRAWS = 350, 2


@dataclass(frozen=True)
class Preview:
    """A repair in progress: ``edit`` (B, 3, S, S) as it stands and the mean of each term so far.

    ``first`` is the place of the batch's first picture among all that were given.
    """

    done: int
    total: int
    edit: Callable[[], Tensor]
    terms: dict[str, float]
    first: int = 0

    @property
    def images(self) -> NDArray[np.uint8]:
        """The pictures, uint8 (B, S, S, 3); worked out only where somebody looks."""
        return to_image(self.edit())


@dataclass(frozen=True)
class Edited:
    """A finished batch: edits and plain reconstructions, uint8 (B, S, S, 3), and each picture's terms
    at each step. ``final`` (B, 3, S, S) holds the edits as they are stored, eight bits per channel, and
    ``plain`` the reconstructions as they were decoded."""

    images: NDArray[np.uint8]
    reconstructions: NDArray[np.uint8]
    final: Tensor
    losses: list[dict[str, list[float]]]
    plain: Tensor


@dataclass(frozen=True)
class LabelCondition:
    """How class indices of a data set become the generator's labels (B, attributes), -1 for unknown.

    ``attribute`` is the place of the one that the data set labels, ``index`` the generator's index
    of each class.
    """

    attributes: int
    attribute: int
    index: tuple[int, ...]

    def of(self, labels: Tensor) -> Tensor:
        """The generator's labels for class indices (B,)."""
        out = self.unknown(len(labels), labels.device)
        out[:, self.attribute] = torch.tensor(self.index, device=labels.device)[labels]
        return out

    def with_covariates(self, label: Tensor | None, covariates: Tensor | None) -> Tensor | None:
        """Labels (B, attributes) that say what an edit must keep: ``covariates`` (B, K), -1 for unknown."""
        if label is None or covariates is None or not covariates.shape[1]:
            return label
        # they stand after the attribute that the data labels
        return torch.cat([label[:, : -covariates.shape[1]], covariates], 1)

    def unknown(self, n: int, device: torch.device) -> Tensor:
        """Labels that say nothing, for classifier-free guidance."""
        return torch.full((n, self.attributes), -1, device=device)


def label_condition(generator: Autoencoder, classes: Sequence[str]) -> LabelCondition | None:
    """The generator's attribute that has all of these classes, whatever their order or case."""
    ours = [c.lower() for c in classes]
    attributes = generator.architecture.attributes
    for i, attribute in enumerate(attributes):
        theirs = [c.lower() for c in attribute.classes]
        if attribute.covariate:
            continue
        if set(ours) <= set(theirs):
            return LabelCondition(len(attributes), i, tuple(theirs.index(c) for c in ours))
    return None


def computed_in(precision: str, where: torch.device) -> torch.dtype:
    """What the generator computes in: "auto" is half precision on a GPU and float32 on a CPU."""
    if precision == "auto" and where.type == "cuda":
        exact = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if exact else torch.float16
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


@torch.no_grad()
def denoising_errors(
    generator: Autoencoder, x: Tensor, condition: LabelCondition, seed: int
) -> Tensor:
    """How badly (B, K) the generator denoises pictures under each class, relative to their mean.

    The class of the smallest error is the one that the picture shows (Li et al. 2023, "Your Diffusion
    Model is Secretly a Zero-Shot Classifier").
    """
    x0_known = generator.latent(x)
    z = generator.encode(x, x0_known)
    x = x0_known
    rng = torch.Generator().manual_seed(seed)
    # One noise for all pictures: what is seen in one does not depend on its batch.
    noises = torch.randn(SEEN_DRAWS, *x.shape[1:], generator=rng).to(x.device)
    errors = torch.zeros(len(x), len(condition.index), device=x.device)
    for noise in noises:
        a = abar(SEEN_TIME, x)
        h = a.sqrt() * x + (1 - a).sqrt() * noise
        for k in range(errors.shape[1]):
            label = condition.of(torch.full((len(x),), k, device=x.device))
            x0, _ = generator.predict(h, SEEN_TIME, z, label)
            errors[:, k] += (x0 - x).square().mean((1, 2, 3))
    return errors / errors.mean(1, keepdim=True)


def edited(task: Task) -> Generator[Preview, None, Edited]:
    """Edit a batch by the configured method, a preview per step."""
    x, plain, config = task.objective.reference.x, task.plain, task.config
    history: list[dict[str, Tensor]] = []
    edit = partial(torch.clone, plain)
    for step in METHODS[config.method](task):
        edit = partial(_pictures, task, step)
        history.append(step.terms)
        means = {k: float(v.mean()) for k, v in step.terms.items()}
        yield Preview(step.done, step.total, edit, means)
    images = to_image(edit())
    losses = [
        {
            name: [round(float(step[name][i]), 6) for step in history if name in step]
            for name in (history[-1] if history else {})
        }
        for i in range(len(x))
    ]
    return Edited(images, to_image(plain), to_tensor(images).to(x.device), losses, plain)


@torch.no_grad()
def _pictures(task: Task, step: GuidedStep) -> Tensor:
    return (task.drawn if step.drawn else task.pictures)(step.x0)
