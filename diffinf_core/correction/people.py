"""How far one person's pictures lie apart, and how near strangers come: the scale of an identity cosine.

The same cosine means one thing for one network and another for the next. So each is read beside two
figures of the run's own pictures: the person's own spread, and a sample of strangers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffinf_core.data.part import Part
from diffinf_core.runs.files import read_tensors, write_tensors
from diffinf_core.runs.run import StageFolder

#: training pictures that stand for "strangers", and pictures of a person that stand for their spread
STRANGERS, OWN = 512, 4
#: strangers' cosines that are this high are rare
_QUANTILE = 0.99
_BATCH = 64

Network = Callable[[Tensor], Tensor]


def disturbed(x: Tensor) -> list[Tensor]:
    """The same pictures (B, 3, S, S) as another photograph might show them: mirrored, moved, relit."""
    shift = max(1, x.shape[-1] // 32)
    return [
        x.flip(3),
        x.roll((shift, shift), (2, 3)),
        (x * 0.85).clamp(-1, 1),
        ((x + 1) * 0.88 - 1).clamp(-1, 1),
    ]


class People:
    """Identity cosines of a training set under one identity network; unit vectors (B, D)."""

    def __init__(self, stage: StageFolder, train: Part, network: Network, device: object) -> None:
        self._stage, self._train, self._network, self._device = stage, train, network, device
        names = train.ids if train.groups is None else train.groups
        # who is who as numbers: comparing names costs a string compare per sample and edit
        self._who = pd.factorize(names)[0].astype(np.int64)
        self._order = np.argsort(self._who, kind="stable")
        self._begin = np.searchsorted(
            self._who[self._order], np.arange(self._who.max(initial=0) + 2)
        )
        spread = np.linspace(0, len(train) - 1, min(STRANGERS, len(train)))
        self._sample = np.unique(spread.round().astype(np.int64))
        self._vectors: Tensor | None = None
        self._level: float | None = None

    def prepare(self) -> Iterator[tuple[int, int]]:
        """Look at the sample of strangers once; (done, total) pictures as it goes."""
        if self._stage.done:
            return
        found = []
        for start in range(0, len(self._sample), _BATCH):
            found.append(self._look(self._sample[start : start + _BATCH]).cpu())
            yield min(start + _BATCH, len(self._sample)), len(self._sample)
        write_tensors(self._stage / "strangers.pt", {"vectors": torch.cat(found)})
        self._stage.finish({"n": len(self._sample)})

    @torch.no_grad()
    def _look(self, positions: NDArray[np.int64]) -> Tensor:
        return self._network(self._train.tensors(positions).to(self._device))  # type: ignore[call-overload]

    @property
    def vectors(self) -> Tensor:
        """Unit vectors (N, D) of the sample of strangers."""
        if self._vectors is None:
            for _ in self.prepare():
                pass
            self._vectors = read_tensors(self._stage / "strangers.pt")["vectors"]
        return self._vectors

    @property
    def strangers(self) -> float:
        """The cosine that 1 in 100 pairs of strangers reach."""
        if self._level is None:
            v, who = self.vectors, self._who[self._sample]
            others = torch.from_numpy(who[:, None] != who[None])
            pairs = (v @ v.T)[others]
            self._level = float(np.quantile(pairs.numpy(), _QUANTILE)) if len(pairs) else 0.0
        return self._level

    def others_of(self, position: int) -> NDArray[np.int64]:
        """Where the same person's other pictures stand, ascending."""
        who = self._who[position]
        same = self._order[self._begin[who] : self._begin[who + 1]]
        return same[same != position]

    def compared(self, position: int) -> NDArray[np.int64]:
        """Those of them that :meth:`own` compares a picture to."""
        return self.others_of(position)[:OWN]

    @torch.no_grad()
    def own(self, x: Tensor, reference: Tensor, positions: NDArray[np.int64]) -> list[float]:
        """Mean cosine of each original x (B, 3, S, S) to its person's other pictures.

        Where the data set holds only one of a person, to the same picture disturbed. ``reference``
        (B, D) are the originals' vectors.
        """
        alone = torch.stack([(self._network(d) * reference).sum(1) for d in disturbed(x)]).mean(0)
        out = alone.tolist()
        for i, position in enumerate(positions):
            others = self.compared(int(position))
            if len(others):
                out[i] = float((self._look(others) @ reference[i]).mean())
        return out

    def nearest(self, vectors: Tensor, positions: NDArray[np.int64]) -> list[float | None]:
        """The cosine of the stranger in the sample who comes nearest to each of vectors (B, D)."""
        cosines = vectors.cpu() @ self.vectors.T
        out: list[float | None] = []
        for row, position in zip(cosines, positions, strict=True):
            others = torch.from_numpy(self._who[self._sample] != self._who[position])
            out.append(float(row[others].max()) if bool(others.any()) else None)
        return out
