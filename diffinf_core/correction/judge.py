"""The independent judge: a network that shares neither weights nor architecture with the guide.

It never takes part in a repair. Where the data set's profile ships one (the demo's was trained on the
clean truth of other rendered people) that one is used. Published networks of faces judge expressions and
ages where their weights are there. Elsewhere, and beside the published ones, one is trained here on the run's
own noisy labels, cross-fitted in two folds, so that no picture is judged by a network that saw it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.classifier.training import device
from diffinf_core.correction.cross_fitted import EPOCHS, FOLDS, CrossFitted, cross_fit
from diffinf_core.correction.face_classes import Known, KnownAges, fit_cuts, known_classes
from diffinf_core.correction.face_judge import (
    FaceJudge,
    FaceSex,
    judge_files,
    networks_name,
    present_judges,
)
from diffinf_core.correction.networks import JudgeNet
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import Part, open_training
from diffinf_core.data.profile import profile_of
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import file_digest, read_json, write_json
from diffinf_core.runs.run import Run
from diffinf_core.runs.stages import Stage, Work
from diffinf_core.weights.files import load_weights, shipped

_BATCH = 64
#: pictures that the ages of classes such as "young" are fitted to
_AGES = 2000
_CUTS = "ages.json"


def _cross_fitted() -> str:
    return f"JudgeNet cross-fitted in {FOLDS} folds on the assigned (noisy) labels"


def _uses_shipped(run: Run) -> bool:
    return run.config.judge.network == "auto" and profile_of(run).judge is not None


def _may_use_faces(run: Run) -> bool:
    """Whether published networks are asked for, or are there and may know the classes."""
    asked = run.config.judge.network
    return asked == "faces" or (asked == "auto" and present_judges() and not _uses_shipped(run))


def _known(run: Run, classes: Sequence[str]) -> Known | None:
    """How published networks see the run's classes; None where they are not to judge them."""
    if not _may_use_faces(run):
        return None
    known = known_classes(classes, run.config.judge.classes)
    if known is None and run.config.judge.network == "faces":
        raise DiffInfError(
            f"No published network knows the classes {', '.join(classes)}: say by judge.classes which "
            "expressions or ages they are, or set judge.network=cross-fitted."
        )
    return known


def judge_name(run: Run) -> str:
    """What the report says of the judge."""
    own = profile_of(run).judge
    if own is not None and _uses_shipped(run):
        return own.description
    known = _known(run, open_training(run).classes)
    return _cross_fitted() if known is None else f"published networks ({networks_name(known)})"


def run_judge(run: Run) -> Work:
    """Train the cross-fitted judge where none is shipped; fit age classes for the published one."""
    if _uses_shipped(run):
        return {"judge": judge_name(run)}
    train = open_training(run)
    known = _known(run, train.classes)
    figures: dict[str, Any] = {"judge": judge_name(run)}
    if known is not None:
        figures["published_agreement_with_labels"] = yield from _fit_published(run, train, known)
    figures["agreement_with_labels"] = yield from cross_fit(JUDGE.folder(run), train)
    return figures


def _fit_published(run: Run, train: Part, known: Known) -> Generator[Progress, None, float]:
    """Fit what the words for ages mean; the fraction of a sample's labels that the networks see."""
    rows = np.unique(
        np.linspace(0, len(train) - 1, min(_AGES, len(train))).round().astype(np.int64)
    )
    judge = FaceJudge(known, device())
    words = isinstance(known, KnownAges) and known.cuts is None
    parts = []
    for start in range(0, len(rows), _BATCH):
        x = train.tensors(rows[start : start + _BATCH]).to(device())
        parts.append(judge.years(x) if words else judge.judge(x))
        yield Progress("judge", min(start + _BATCH, len(rows)), len(rows), "judging the originals")
    found = np.concatenate(parts)
    if isinstance(known, KnownAges) and words:
        known = fit_cuts(known, found, train.labels[rows])
        assert known.cuts is not None
        write_json(JUDGE.folder(run) / _CUTS, {"cuts": known.cuts[1:-1]})
        found = FaceJudge(known, device()).of_years(found)
    return float((found.argmax(1) == train.labels[rows]).mean())


def _settings(run: Run) -> list[Any]:
    out: list[Any] = [{"epochs": EPOCHS, "folds": FOLDS}]
    if run.config.judge.network == "cross-fitted" and profile_of(run).judge is not None:
        out.append("cross-fitted")
    if _may_use_faces(run):
        weights = [file_digest(file) for file in judge_files() if file.is_file()]
        out.append({"faces": run.config.judge.classes, "weights": weights, "ages": _AGES})
    return out


#: the cross-fitted judge; the shipped one leaves its folder empty
JUDGE = Stage(
    "judge",
    run_judge,
    "train the independent judge",
    inputs=(DATA,),
    settings=_settings,
    files=lambda run: judge_files(),
)


class Judge:
    """Class probabilities of pictures, by networks that saw none of them in training.

    ``second`` is the cross-fitted judge where a published one judges, else None.
    """

    def __init__(self, run: Run) -> None:
        train = open_training(run)
        self.second: CrossFitted | None = None
        self._sex: FaceSex | None = None
        own = profile_of(run).judge
        self._shipped: JudgeNet | None = None
        if own is not None and _uses_shipped(run):
            net = JudgeNet(tuple(len(classes) for classes in own.heads))
            load_weights(shipped(own.weights), net)
            self._shipped, self._head = net.to(device()), own.head
            # The data set may list the classes in another order, or lack one.
            self._columns = [own.classes.index(c) for c in train.classes]
            return
        cross_fitted = CrossFitted(JUDGE.folder(run), train)
        known = _known(run, train.classes)
        self._first: CrossFitted | FaceJudge = cross_fitted
        if known is not None:
            if isinstance(known, KnownAges) and known.cuts is None:
                cuts = read_json(JUDGE.folder(run) / _CUTS)["cuts"]
                known = KnownAges(known.rank, (-np.inf, *cuts, np.inf))
            self._first, self.second = FaceJudge(known, device()), cross_fitted
            self._sex = FaceSex(device())

    def male(self, x: Tensor) -> list[float] | None:
        """Probabilities (B,) of being male, another attribute that an edit keeps; None where no published
        network judges."""
        return None if self._sex is None else self._sex.male(x.to(device()))

    @torch.no_grad()
    def judge(self, x: Tensor, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probabilities (B, C) for pictures (B, 3, S, S) that stand at training positions."""
        x = x.to(device())
        if self._shipped is not None:
            logits = self._shipped(x)[self._head][:, self._columns]
            return F.softmax(logits.double(), 1).cpu().numpy()
        if isinstance(self._first, FaceJudge):
            return self._first.judge(x)
        return self._first.judge(x, positions)
