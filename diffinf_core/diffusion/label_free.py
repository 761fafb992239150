"""Codes that do not tell the label: an adversary guesses it from z_sem, and the encoder makes the guess no
better than one from the frequencies of the classes.

A code that says the label leaves nothing for the label to add, so that guidance on it changes nothing (Lample
et al. 2017, "Fader Networks"; Ganin et al. 2016, "Domain-Adversarial Training of Neural Networks").
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

_WIDTH = 256
_RATE, _WEIGHT_DECAY = 1e-3, 1e-4
#: what keeps the adversary from diverging once the encoder works against it
_DROPOUT, _SMOOTHING, _STEPS = 0.2, 0.05, 2
#: log-probabilities below this pull no further: a guess that is sure and wrong would outweigh all else
_LEAST_LOG = -4.0


class LabelAdversary(nn.Module):
    """Guesses the label of pictures from z_sem (B, z_dim), and learns by an optimiser of its own.

    ``frequencies`` (C,) are those of the classes among the labels that training shows.
    """

    def __init__(self, z_dim: int, frequencies: Tensor) -> None:
        super().__init__()
        classes = len(frequencies)
        self.layers = nn.ModuleList(
            nn.Linear(i, o) for i, o in ((z_dim, _WIDTH), (_WIDTH, _WIDTH), (_WIDTH, classes))
        )
        self.register_buffer("frequencies", frequencies.float() / frequencies.sum())
        self.optimiser = torch.optim.Adam(self.parameters(), _RATE, weight_decay=_WEIGHT_DECAY)

    def forward(self, z: Tensor, rng: torch.Generator) -> Tensor:
        """Logits (B, C), with dropout by ``rng``."""
        for i, layer in enumerate(self.layers):
            z = layer(z)
            if i < len(self.layers) - 1:
                kept = torch.rand(z.shape, generator=rng, device=z.device) >= _DROPOUT
                z = z.relu() * kept / (1 - _DROPOUT)
        return z

    @torch.enable_grad()
    def learn(self, z: Tensor, label: Tensor, rng: torch.Generator) -> Tensor:
        """Two steps of learning from codes and their labels (B,); the last cross-entropy, a scalar."""
        z = z.detach().float()
        loss = z.new_zeros(())
        for _ in range(_STEPS):
            loss = F.cross_entropy(self(z, rng), label, label_smoothing=_SMOOTHING)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self._average_gradients()
            self.optimiser.step()
        return loss.detach()

    def pull(self, z: Tensor, rng: torch.Generator) -> Tensor:
        """The encoder's loss, a scalar: cross-entropy of the guess and the classes' frequencies."""
        frozen = {name: value.detach() for name, value in self.named_parameters()}
        guess: Tensor = functional_call(self, frozen, (z.float(), rng))
        log = guess.log_softmax(1).clamp_min(_LEAST_LOG)
        frequencies = self.get_buffer("frequencies")
        return -(frequencies * log).sum(1).mean()

    def _average_gradients(self) -> None:
        """The mean over the processes that train together, so that each has the same adversary."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return
        for parameter in self.parameters():
            assert parameter.grad is not None
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= torch.distributed.get_world_size()
