"""The honest checks of an edit: an independent judge, the true self-influence, the person, the picture.

Nothing here takes part in an edit; the identity network does, and the perceptual one, so their figures
stand beside the scale of the run's own people and beside the plain reconstruction.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.classifier.network import Classifier
from diffinf_core.classifier.stage import load_snapshot
from diffinf_core.config import RepairConfig
from diffinf_core.correction.edits import METHOD
from diffinf_core.correction.judge import Judge
from diffinf_core.correction.objective import Reference
from diffinf_core.correction.people import People
from diffinf_core.correction.perceptors import Perceptors, chosen, identity_key
from diffinf_core.correction.quality import check_numbers, flags_of, picture_figures
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import open_training
from diffinf_core.data.profile import profile_of
from diffinf_core.influence.checkpoints import checkpoint_epochs
from diffinf_core.influence.predictor import CrossFittedPredictor
from diffinf_core.influence.scoring import Scorer, autocast_type
from diffinf_core.runs.run import Run


class Checks:
    """Everything that looks at a finished edit, loaded once."""

    def __init__(
        self, run: Run, predictor: CrossFittedPredictor, device: torch.device, generator_key: str
    ) -> None:
        self._run, self._predictor, self._device = run, predictor, device
        self._generator_key = generator_key
        self._judge = Judge(run)
        self._people: dict[str, People] = {}

    @cached_property
    def snapshots(self) -> list[tuple[Classifier, float]]:
        """The checkpoints of equation 5, for the true self-influence of an edit."""
        pairs = [load_snapshot(self._run, epoch) for epoch in checkpoint_epochs(self._run)]
        return [(net.to(self._device).requires_grad_(True), eta) for net, eta in pairs]

    def self_influence(self, x: Tensor, y: Tensor) -> NDArray[np.float64]:
        """Equation 5 for pictures that are not in the training set."""
        with Scorer(self.snapshots, autocast_type(self._run.config.influence)) as scorer:
            return scorer.terms(x, y)[:, :, 0].sum(1)

    def people(self, perceptors: Perceptors, config: RepairConfig) -> People | None:
        """The run's people as an identity network sees them; None where there is none."""
        if perceptors.identity is None:
            return None
        kinds = chosen(config, profile_of(self._run).perceptors, self._run.config.data.image_size)
        key = identity_key(kinds["identity"], config.face_crop, self._generator_key)
        name = str(key)
        if name not in self._people:
            self._people[name] = People(
                self._run.stage("people", METHOD, DATA.key(self._run), key),
                open_training(self._run),
                perceptors.identity,
                self._device,
            )
        return self._people[name]

    def prepare(self, perceptors: Perceptors, config: RepairConfig) -> Iterator[tuple[int, int]]:
        """Look at the run's people if nobody has; (done, total) pictures."""
        people = self.people(perceptors, config)
        if people is not None:
            yield from people.prepare()

    @torch.no_grad()
    def measure(
        self,
        positions: NDArray[np.int64],
        final: Tensor,
        reconstruction: Tensor,
        reference: Reference,
        perceptors: Perceptors,
        config: RepairConfig,
    ) -> list[dict[str, Any]]:
        """The figures and flags of edits ``final`` (B, 3, S, S), as fields of :class:`Edit`.


        :class:`DiffInfError` where a network gives no number.
        """
        x, y = reference.x, reference.label
        h = [self._predictor.logit(p, y, positions).sigmoid() for p in (x, final)]
        seen = [F.softmax(self._predictor.net(p).double(), 1) for p in (x, final)]
        judged = [self._judge.judge(p, positions) for p in (x, final)]
        si = [self.self_influence(p, y) for p in (x, final)]
        check_numbers({"the influence predictor": h[1]})
        vectors = perceptors.identity(final) if perceptors.identity else None
        figures = picture_figures(final, reconstruction, reference, perceptors, vectors)
        figures |= {
            "h_before": h[0].tolist(),
            "h_after": h[1].tolist(),
            "influence_before": si[0].tolist(),
            "influence_after": si[1].tolist(),
            "judge_before": judged[0].tolist(),
            "judge_after": judged[1].tolist(),
            "classifier_before": seen[0].tolist(),
            "classifier_after": seen[1].tolist(),
        }
        second = self._judge.second
        for name, pictures in (("cross_judge_before", x), ("cross_judge_after", final)):
            judged_too = None if second is None else second.judge(pictures, positions).tolist()
            figures[name] = judged_too or [None] * len(positions)
        for name, pictures in (("male_before", x), ("male_after", final)):
            figures[name] = self._judge.male(pictures) or [None] * len(positions)
        figures |= dict.fromkeys(("identity_own", "identity_stranger"), [None] * len(positions))
        people = self.people(perceptors, config)
        if people is not None and vectors is not None and reference.identity is not None:
            figures["identity_own"] = people.own(x, reference.identity, positions)
            figures["identity_stranger"] = people.nearest(vectors, positions)
        strangers = None if people is None else people.strangers
        rows = [{k: v[i] for k, v in figures.items()} for i in range(len(positions))]
        return [
            {**row, "flags": flags_of(row, int(label), strangers)}
            for row, label in zip(rows, y, strict=True)
        ]
