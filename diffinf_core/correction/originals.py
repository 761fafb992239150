"""What the run's networks see in an original: the same figures that an edit records as "before", for pictures
without an edit."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from diffinf_core.classifier.training import device
from diffinf_core.correction.judge import Judge, judge_name
from diffinf_core.data.part import open_training
from diffinf_core.influence.predictor import CrossFittedPredictor
from diffinf_core.records import Prediction
from diffinf_core.runs.run import Run
from diffinf_core.runs.seal import under_seal


class Originals:
    """Judge, classifier and influence predictor of a run, loaded once."""

    def __init__(self, run: Run) -> None:
        self._train, self._device = open_training(run), device()
        self._predictor = CrossFittedPredictor(run).to(self._device)
        self._judge, self._name = Judge(run), judge_name(run)

    @under_seal
    @torch.no_grad()
    def predict(self, sample: str) -> Prediction:
        """The probabilities of a training sample; :class:`DiffInfError` for an unknown id."""
        position = self._train.position(sample)
        at = np.array([position])
        x = self._train.tensors(at).to(self._device)
        label = torch.from_numpy(self._train.labels[at]).to(self._device)
        return Prediction(
            sample=sample,
            label=self._train.sample(position).label,
            judge_name=self._name,
            judge=self._judge.judge(x, at)[0].tolist(),
            classifier=F.softmax(self._predictor.net(x).double(), 1)[0].tolist(),
            h=float(self._predictor.logit(x, label, at).sigmoid()),
        )
