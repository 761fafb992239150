"""A linear probe of z_sem, used in place of the label where the generator is unconditional.

Softmax regression from codes to the assigned labels of samples that are not high-influence, so no
edited picture and few wrong labels take part. An edit starts from the nearest code to which the probe
assigns the label with a margin: a step along the attribute direction of published diffusion autoencoders,
of the shortest length that suffices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.correction.edits import METHOD
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import Part
from diffinf_core.diffusion.autoencoder import Autoencoder
from diffinf_core.influence.stage import ranking
from diffinf_core.runs.files import digest, read_tensors, write_tensors
from diffinf_core.runs.run import Run

#: maximal number of codes to fit on; more make the probe no better and cost an encoding each
MAX_CODES = 4000
#: minimal number per class; below it wrong labels dominate its direction
MIN_PER_CLASS = 20
_BATCH = 64
#: ridge penalty on the mean loss; with less, wrong labels bias the weights
_RIDGE = 0.1
_ITERATIONS = 200


@dataclass(frozen=True)
class LinearProbe:
    """Logits (z - mean) / deviation @ weight.T + bias, all float32; weight (C, d)."""

    mean: Tensor
    deviation: Tensor
    weight: Tensor
    bias: Tensor

    def logits(self, z: Tensor) -> Tensor:
        """(B, C) for codes (B, d)."""
        return (z - self.mean) / self.deviation @ self.weight.T + self.bias

    def towards(self, z: Tensor, label: Tensor, margin: float) -> Tensor:
        """The nearest codes, in standard deviations, at which the logit of label (B,) leads by ``margin``.

        Repeated projection onto the half-space of the strongest rival class; with two classes the first is
        exact. Codes with that margin stay unchanged.
        """
        u = (z - self.mean) / self.deviation
        own = F.one_hot(label, len(self.weight)).bool()
        for _ in range(8 * len(self.weight)):
            logits = u @ self.weight.T + self.bias
            rival = logits.masked_fill(own, -torch.inf).argmax(1)
            lead = logits.gather(1, label[:, None])[:, 0] - logits.gather(1, rival[:, None])[:, 0]
            lack = (margin - lead).clamp_min(0)
            if not bool((lack > 1e-4 * max(1.0, margin)).any()):
                break
            way = self.weight[label] - self.weight[rival]
            square = way.square().sum(1).clamp_min(1e-12)
            u = u + (lack / square)[:, None] * way
        logits = u @ self.weight.T + self.bias
        rival = logits.masked_fill(own, -torch.inf).amax(1)
        lead = logits.gather(1, label[:, None])[:, 0] - rival
        reached = lead >= margin - 0.1 * max(1.0, margin)
        # without information on a class its direction is arbitrary: leave the code unchanged
        return torch.where(reached[:, None], u * self.deviation + self.mean, z)

    def to(self, device: torch.device) -> LinearProbe:
        """The same on another device."""
        return LinearProbe(*(t.to(device) for t in self.state().values()))

    def state(self) -> dict[str, Tensor]:
        """Its tensors by name."""
        return {n: getattr(self, n) for n in ("mean", "deviation", "weight", "bias")}


def fit_probe(z: Tensor, labels: Tensor, classes: int) -> LinearProbe:
    """Softmax regression on codes (N, d) and labels (N,), classes weighted equally; deterministic."""
    z = z.double()
    mean, deviation = z.mean(0), z.std(0).clamp_min(1e-6)
    u = (z - mean) / deviation
    counts = torch.bincount(labels, minlength=classes).double().clamp_min(1)
    weight = torch.zeros(classes, z.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=_ITERATIONS, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(u @ weight.T + bias, labels, counts.sum() / (classes * counts))
        value = value + _RIDGE * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimiser.step(loss)
    return LinearProbe(*(t.detach().float() for t in (mean, deviation, weight, bias)))


def sampled(
    labels: NDArray[np.int64], rank: NDArray[np.int64], high: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The training positions to fit on: at most :data:`MAX_CODES`, equally many per class.

    Samples outside the high-influence set, evenly spread. A class with fewer than
    :data:`MIN_PER_CLASS` of them is filled up with its least suspicious samples. All arguments are (N,).
    """
    taken, per_class = [], MAX_CODES // (int(labels.max()) + 1)
    for k in range(int(labels.max()) + 1):
        rows = np.flatnonzero((labels == k) & ~high)
        if len(rows) < MIN_PER_CLASS:
            own = np.flatnonzero(labels == k)
            rows = own[np.argsort(-rank[own], kind="stable")][:MIN_PER_CLASS]
        if len(rows) > per_class:
            rows = rows[np.linspace(0, len(rows) - 1, per_class).round().astype(np.int64)]
        taken.append(rows)
    return np.sort(np.concatenate(taken))


class FittedProbe:
    """The probe of a run under one generator: fitted once, kept in the run's folder."""

    def __init__(self, run: Run, train: Part, generator_key: str) -> None:
        table = ranking(run)
        rank, high = table["rank"].to_numpy(), table["high"].to_numpy()
        self._positions = sampled(train.labels, rank, high)
        self._labels = train.labels[self._positions]
        self._classes = len(train.classes)
        self._stage = run.stage(
            "probe",
            METHOD,
            DATA.key(run),
            generator_key,
            digest(self._positions.tolist(), self._labels.tolist()),
        )

    def prepare(
        self, generator: Autoencoder, train: Part, device: torch.device
    ) -> Iterator[tuple[int, int]]:
        """Encode and fit, unless done before; yields (done, total) codes."""
        if self._stage.done:
            return
        codes: list[Tensor] = []
        yield 0, len(self._positions)
        for batch in encoded(generator, train, self._positions, device):
            codes.append(batch)
            yield sum(map(len, codes)), len(self._positions)
        z, labels = torch.cat(codes), torch.from_numpy(self._labels)
        probe = fit_probe(z, labels, self._classes)
        agrees = float((probe.logits(z).argmax(1) == labels).float().mean())
        write_tensors(self._stage / "probe.pt", probe.state())
        self._stage.finish({"n": len(z), "agreement_with_labels": agrees})

    def load(self) -> LinearProbe:
        """The probe; :meth:`prepare` comes first."""
        return LinearProbe(**read_tensors(self._stage / "probe.pt"))


@torch.no_grad()
def encoded(
    generator: Autoencoder, train: Part, positions: NDArray[np.int64], device: torch.device
) -> Iterator[Tensor]:
    """z_sem (B, d) of training pictures, a batch at a time."""
    for start in range(0, len(positions), _BATCH):
        yield generator.encode(train.tensors(positions[start : start + _BATCH]).to(device)).cpu()
