"""What is measured on pairs of a photograph and its edit, by networks that share nothing with the repair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffinf_core.correction.colour import colour_shift
from diffinf_core.correction.face_judge import FaceSex, judge_files
from diffinf_core.correction.published.dlib import SAME_PERSON, DlibIdentity
from diffinf_core.correction.published.layers import load_published
from diffinf_core.data.part import to_tensor
from diffinf_core.weights.files import load_weights, shipped
from diffinf_core.weights.lpips import LpipsAlex, perceptual_distance

CPU = torch.device("cpu")
_BATCH = 16
#: layers of AlexNet that KID compares: the last three of five, as the first see no shapes
_SHAPES = slice(2, 5)
#: (B, S, S, 3)
Pictures = NDArray[np.uint8]
Figures = dict[str, NDArray[np.float64]]


class Measures:
    """The networks that look at pairs of original and edit, loaded once."""

    def __init__(self) -> None:
        self._sex = FaceSex(CPU)
        self._who = load_published(DlibIdentity(), judge_files()[0], "recognition.")
        self._lpips = load_weights(shipped("lpips"), LpipsAlex())

    @torch.no_grad()
    def pairs(self, originals: Pictures, edits: Pictures) -> Figures:
        """Figures (B,) of edits beside originals."""
        parts = [
            self._some(to_tensor(originals[i : i + _BATCH]), to_tensor(edits[i : i + _BATCH]))
            for i in range(0, len(edits), _BATCH)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _some(self, x: Tensor, edit: Tensor) -> Figures:
        distance = (self._who(x) - self._who(edit)).norm(dim=1)
        male = [np.array(self._sex.male(p)) > 0.5 for p in (x, edit)]
        lpips = perceptual_distance(self._lpips(edit), self._lpips(x))
        return {
            "distance": distance.double().numpy(),
            "same_person": (distance < SAME_PERSON).double().numpy(),
            "lpips": lpips.double().numpy(),
            "male": male[0].astype(float),
            "other_sex": (male[0] != male[1]).astype(float),
            "colour_shift": colour_shift(x, edit).numpy(),
            "change": 127.5 * (x - edit).abs().mean((1, 2, 3)).double().numpy(),
        }

    @torch.no_grad()
    def shapes(self, pictures: Pictures) -> NDArray[np.float64]:
        """Mean activations (B, 896) of AlexNet's last three layers."""
        out = []
        for i in range(0, len(pictures), _BATCH):
            layers = self._lpips.layers(to_tensor(pictures[i : i + _BATCH]))[_SHAPES]
            out.append(torch.cat([layer.mean((2, 3)) for layer in layers], 1))
        return torch.cat(out).double().numpy()


class Realism:
    """How far pictures are from real ones of their class: KID (Binkowski et al. 2018).

    With AlexNet in place of Inception, its activations standardised by those of the real pictures. Zero is
    expected of more real pictures of the same class, and below it by chance; by classes, their mean weighted
    by how many pictures each has.
    """

    def __init__(self, measures: Measures, pictures: Pictures, y: NDArray[np.int64]) -> None:
        self._measures, self._y = measures, y
        real = measures.shapes(pictures)
        sd = real.std(0)
        # a unit that hardly ever answers to real pictures would outweigh all others
        self._mean, self._sd = real.mean(0), np.maximum(sd, np.median(sd) / 10)
        self._real = (real - self._mean) / self._sd

    def __call__(self, pictures: Pictures, y: NDArray[np.int64]) -> float:
        """KID of pictures that are to show classes y (B,)."""
        shown = (self._measures.shapes(pictures) - self._mean) / self._sd
        counts = {k: n for k, n in enumerate(np.bincount(y)) if n > 1 and (self._y == k).sum() > 1}
        each = [n * kid(shown[y == k], self._real[self._y == k]) for k, n in counts.items()]
        return float(sum(each) / sum(counts.values()))


def kid(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The unbiased estimate of the squared MMD of (n, D) and (m, D) with the kernel (x.y / D + 1)^3."""

    def mean(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
        kernel = (x @ y.T / x.shape[1] + 1) ** 3
        if x is y:
            return float((kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1)))
        return float(kernel.mean())

    return mean(a, a) + mean(b, b) - 2 * mean(a, b)


def row(
    figures: Figures, judged: NDArray[np.float64], y: NDArray[np.int64], names: Sequence[str]
) -> dict[str, Any]:
    """Means over edits judged (B, C) under labels y (B,), and the judge's agreement by class."""
    agrees = judged.argmax(1) == y
    by_class = {
        name: [float(agrees[y == k].mean()), int((y == k).sum())]
        for k, name in enumerate(names)
        if (y == k).any()
    }
    means = {name: float(values.mean()) for name, values in figures.items() if name != "male"}
    return {"n": len(y), "judge": float(agrees.mean()), "by_class": by_class, **means}
