"""The training sets behind repair and its controls, made from a run; some of them use the truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.baselines import Method
from diffinf_core.classifier.stage import load_snapshot
from diffinf_core.classifier.subset import Subset
from diffinf_core.classifier.training import TrainingSet, device, predict_probabilities
from diffinf_core.config import change
from diffinf_core.correction.edits import load_edit
from diffinf_core.correction.quality import JUDGE_AGREES
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.part import open_training
from diffinf_core.data.truth import open_truth
from diffinf_core.experiments.ablation import H_ONLY
from diffinf_core.influence.checkpoints import checkpoint_epochs
from diffinf_core.influence.stage import ranking, ranking_key
from diffinf_core.records import Decision, DiffInfError, Edit, Progress
from diffinf_core.review.refine import refined_set
from diffinf_core.review.training_set import refined_training, selected
from diffinf_core.runs.files import read_json
from diffinf_core.runs.run import Run

#: the plain decoding of an inversion: nothing that is asked for, nothing that is transferred
_RECONSTRUCTION: dict[str, Any] = {
    "method": "guided", "use_label": False, "probe": "never", "w_id": 0, "w_reg": 0, "w_si": 0,
    "w_sem": 0, "transfer": "none", "tries": "one",
}  # fmt: skip
#: what each kind of edits is made with, over the run's own settings
_REPAIRS: Mapping[str, dict[str, Any]] = {
    "reconstruction": _RECONSTRUCTION,
    "classifier_guided": {"w_si": 0},
    "h_only": {**H_ONLY, "tries": "one"},
}
#: the methods that train on edits, and have distances to show
EDITING = ("repair", "perfect_review", *_REPAIRS)


def edited_by(run: Run, method: str) -> Run:
    """The run whose repair makes the edits of a method: this one, or the same under other settings."""
    if method not in _REPAIRS:
        return run
    over = dict(_REPAIRS[method])
    if method == "classifier_guided":
        over["w_sem"] = run.config.repair.w_si or 1.0
    config = change(run.config, {"repair": over}, method)
    return Run(run.root, config, run.root / "benchmark" / "edits")


def set_key(run: Run, method: str) -> list[object]:
    """What the training set of a method depends on beyond the data."""
    if method in EDITING:
        return [REPAIR.key(edited_by(run, method))]
    return [] if method == "clean" else ranking_key(run)


def prepare_set(run: Run, method: str) -> Iterator[Progress]:
    """Make the edits that a method trains on, where they are not there yet."""
    if method in _REPAIRS:
        yield from REPAIR.compute(edited_by(run, method), quiet=True)


def build_set(run: Run, method: Method) -> TrainingSet:
    """The set that a method trains on.

    Raises :class:`DiffInfError` where it needs true labels that nobody knows, or edits that are not made.
    """
    train, name = open_training(run), method.name
    everything = np.arange(len(train))
    if name in EDITING:
        by = edited_by(run, name)
        if not REPAIR.done(by):
            raise DiffInfError(f"{method.title} needs the edits of {run.root}; repair it first.")
        decisions = _perfect_decisions(run, _truth(run, method)) if method.needs.truth else {}
        policy = "original" if method.needs.truth else "repaired"
        return refined_training(by, train, refined_set(by, policy, decisions))
    if name == "clean":
        return selected(train, everything, _truth(run, method)[0])
    table = ranking(run)
    high = table["high"].to_numpy()
    if name == "network_relabel":
        labels = train.labels.copy()
        labels[high] = _predicted(run)[high]
        return selected(train, everything, labels)
    if name == "true_relabel":
        return selected(train, everything, np.where(high, _truth(run, method)[0], train.labels))
    if name == "oracle_removal":
        kept = np.delete(everything, _worst(table, _truth(run, method)[1]))
        return selected(train, kept, train.labels[kept])
    raise DiffInfError(f"A run makes no training set for {method.title}; give one in the task.")


def _truth(run: Run, method: Method) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    truth = open_truth(run, "benchmark").training()
    if truth is None:
        raise DiffInfError(
            f"{method.title} needs the true labels, and nobody knows those of {run.root}; leave it out."
        )
    return truth


def _worst(table: pd.DataFrame, wrong: NDArray[np.bool_]) -> NDArray[np.int64]:
    """As many wrong samples as are ranked high, the highest first; all of them where there are fewer."""
    order = np.argsort(table["rank"].to_numpy(), kind="stable")
    return order[wrong[order]][: int(table["high"].sum())]


def _perfect_decisions(
    run: Run, truth: tuple[NDArray[np.int64], NDArray[np.bool_]]
) -> dict[str, Decision]:
    """Keep what was right; accept what the independent judge takes for its label; relabel the rest."""
    (clean, wrong), train, out = truth, open_training(run), {}
    for sample, version in read_json(REPAIR.folder(run) / "versions.json").items():
        at = train.position(sample)
        action, label = "keep", None
        if wrong[at]:
            judged = load_edit(run, sample, version).judge_after[int(train.labels[at])]
            if judged >= JUDGE_AGREES:
                action = "accept"
            else:
                action, label = "relabel", train.classes[clean[at]]
        chosen = version if action == "accept" else None
        out[sample] = Decision(sample, action, "perfect reviewer", "", chosen, label)
    return out


def _predicted(run: Run) -> NDArray[np.int64]:
    """The class (N,) of the highest mean probability over the checkpoints that the ranking uses."""
    return _mean_prediction(run, str(ranking_key(run)))


@lru_cache(maxsize=2)
def _mean_prediction(run: Run, key: str) -> NDArray[np.int64]:
    train = open_training(run)
    high = np.flatnonzero(ranking(run)["high"].to_numpy())
    p = np.zeros((len(train), len(train.classes)))
    for epoch in checkpoint_epochs(run):
        net = load_snapshot(run, epoch)[0].to(device())
        p[high] += predict_probabilities(net, Subset(train, high))
    return p.argmax(1)


def edits_of(run: Run, method: str) -> list[Edit]:
    """The edits that a method trains on, as the repair made them; empty where there are none yet."""
    by = edited_by(run, method)
    if method not in EDITING or not REPAIR.done(by):
        return []
    versions = read_json(REPAIR.folder(by) / "versions.json")
    return [load_edit(by, sample, version) for sample, version in versions.items()]


def distances(run: Run, methods: list[str]) -> list[dict[str, Any]]:
    """Perceptual distance of edits to their originals for each method and class, a record each.

    Fields: method, network, label (assigned), n, mean, sd, floor (that of plain reconstructions), as
    LPIPS where ``network`` says so.
    """
    out = []
    for method in methods:
        edits = edits_of(run, method) if method != "perfect_review" else []
        for label in open_training(run).classes:
            own = [e for e in edits if e.label == label]
            if own:
                d = np.array([e.perceptual for e in own])
                out.append(
                    {
                        "method": method,
                        "network": own[0].perceptual_name,
                        "label": label,
                        "n": len(own),
                        "mean": float(d.mean()),
                        "sd": float(d.std(ddof=1)) if len(d) > 1 else None,
                        "floor": float(np.mean([e.perceptual_floor for e in own])),
                    }
                )
    return out
