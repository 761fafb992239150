"""The independent judge of real faces: published networks of expression and age.

They share neither weights, training pictures nor labels with what guides an edit. An expression is judged by
two networks (geometric mean), an age by the mean of two, where the second one's weights are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.correction.face_classes import Known, KnownAges, KnownExpressions
from diffinf_core.correction.published.age import FaceAge
from diffinf_core.correction.published.dlib import DlibAge
from diffinf_core.correction.published.expression import FaceExpression
from diffinf_core.correction.published.layers import load_published
from diffinf_core.correction.published.mini_xception import MiniXception
from diffinf_core.weights.pretrained import pretrained

#: standard deviation in years of an estimated age around the true one
AGE_SPREAD = 5.0
#: smallest probability of an expression before the networks are combined
_LEAST = 1e-4
#: catalogue entries: the first is needed, the others add a second opinion
_ENTRIES = ("face-api", "dlib-age", "mini-xception")


def judge_files() -> list[Path]:
    """Where the weights of the judges are, there or not."""
    return [pretrained(name).path for name in _ENTRIES]


def present_judges() -> bool:
    """Whether the weights that the judges need are in their place."""
    return judge_files()[0].is_file()


def expression_networks() -> list[FaceExpression | MiniXception]:
    """The networks of expression that are there; each has its ``CLASSES``.

    Raises :class:`DiffInfError` where the first one's weights are missing or damaged.
    """
    api, _, mini = judge_files()
    nets: list[FaceExpression | MiniXception] = [
        load_published(FaceExpression(), api, "expression.")
    ]
    return [*nets, load_published(MiniXception(), mini)] if mini.is_file() else nets


class FaceAges(nn.Module):
    """Age in years (B,) and log-odds of being male (B,) of pictures (B, 3, S, S) in [-1, 1].

    Raises :class:`DiffInfError` where the first network's weights are missing or damaged.
    """

    def __init__(self) -> None:
        super().__init__()
        api, dlib, _ = judge_files()
        self.first = load_published(FaceAge(), api, "age_gender.")
        self.second = load_published(DlibAge(), dlib) if dlib.is_file() else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        years, male = self.first(x)
        return years if self.second is None else (years + self.second.expected(x)) / 2, male


def expression_probabilities(
    nets: Sequence[FaceExpression | MiniXception], names: Sequence[str], x: Tensor
) -> Tensor:
    """(B, len(names)) probabilities of expressions among ``names``, the geometric mean over networks."""
    logs = []
    for net in nets:
        columns = [net.CLASSES.index(name) for name in names]
        logs.append((F.softmax(net(x).double(), 1)[:, columns] + _LEAST).log())
    return F.softmax(torch.stack([F.log_softmax(log, 1) for log in logs]).mean(0), 1)


class FaceJudge:
    """Probabilities of a data set's classes by published networks."""

    def __init__(self, known: Known, where: torch.device) -> None:
        self._known = known
        self._expressions = [] if isinstance(known, KnownAges) else expression_networks()
        self._ages = FaceAges().to(where) if isinstance(known, KnownAges) else None
        for net in self._expressions:
            net.to(where)

    @torch.no_grad()
    def judge(self, x: Tensor) -> NDArray[np.float64]:
        """(B, C) for pictures (B, 3, S, S) in [-1, 1]."""
        if isinstance(self._known, KnownAges):
            return self.of_years(self.years(x))
        p = expression_probabilities(self._expressions, self._known.names, x)
        return p.cpu().numpy()

    @torch.no_grad()
    def years(self, x: Tensor) -> NDArray[np.float64]:
        """Estimated ages (B,) in years; only for a judge of ages."""
        assert self._ages is not None
        return self._ages(x)[0].double().cpu().numpy()

    def of_years(self, years: NDArray[np.float64]) -> NDArray[np.float64]:
        """(B, C) for estimated ages (B,); only for a judge of ages."""
        assert isinstance(self._known, KnownAges)
        return self._known.probabilities(years, AGE_SPREAD)


class FaceSex:
    """The probability of being male by the published network."""

    def __init__(self, where: torch.device) -> None:
        self._net = load_published(FaceAge(), judge_files()[0], "age_gender.").to(where)

    @torch.no_grad()
    def male(self, x: Tensor) -> list[float]:
        """(B,) for pictures (B, 3, S, S) in [-1, 1]."""
        return list(self._net(x)[1].double().sigmoid().tolist())


def networks_name(known: Known) -> str:
    """What the report calls the networks that judge these classes."""
    second = judge_files()[2 if isinstance(known, KnownExpressions) else 1]
    if isinstance(known, KnownExpressions):
        return "face-api and mini-XCEPTION" if second.is_file() else "face-api"
    return "face-api and dlib's age network" if second.is_file() else "face-api"
