"""What the networks see in pictures without an edit, and what that speaks for."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

from diffinf_core.correction.judge import JUDGE
from diffinf_core.correction.originals import Originals
from diffinf_core.engine.tables import Tables
from diffinf_core.influence.predictor import PREDICTOR
from diffinf_core.records import Edit, Prediction
from diffinf_core.review.queue import suggestion, suggestion_unedited
from diffinf_core.runs.files import digest

#: predictions that are kept
_KEPT = 4096


class Predictions:
    """Judges originals one at a time; the networks are loaded with the first one and kept."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], Prediction] = OrderedDict()

    def of(self, sample: str) -> Prediction:
        """The probabilities of a training sample; :class:`DiffInfError` for an unknown id."""
        folder = self._tables.folder
        key = digest(PREDICTOR.key(folder), JUDGE.key(folder))
        known = self._known.get((key, sample))
        if known is not None:  # which waits for nobody's computation
            return known
        with self._lock:
            found = self._known.get((key, sample))
            if found is None:
                originals = self._tables.cache.get("originals", key, lambda: Originals(folder))
                found = self._known[key, sample] = originals.predict(sample)
                if len(self._known) > _KEPT:
                    self._known.popitem(last=False)
            return found

    def suggestion(self, sample: str, edit: Edit | None = None) -> tuple[str, str, str]:
        """(action, class to relabel to, reason): what an edit's figures speak for, or the picture's alone.

        See :func:`diffinf_core.review.queue.suggestion` and ``suggestion_unedited``.
        """
        classes = self._tables.training.classes
        if edit is None:
            seen = self.of(sample)
            return suggestion_unedited(seen.label, classes, seen.judge)
        before, after = edit.judge_before, edit.judge_after
        action, reason = suggestion(edit.label, list(classes), before, after, edit.flags)
        return action, classes[int(np.argmax(before))] if action == "relabel" else "", reason

    def scores(self, sample: str) -> dict[str, float]:
        """Every computed score of a training sample by its name; high is suspicious."""
        row = self._tables.samples().scores.iloc[self._tables.training.position(sample)]
        return {str(name): float(value) for name, value in row.items()}
