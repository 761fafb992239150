"""The run in figures: one JSON object, null where a thing was not run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd

from diffinf_core.classifier.stage import CLASSIFIER
from diffinf_core.correction.edits import load_edit
from diffinf_core.correction.judge import judge_name
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import open_training
from diffinf_core.data.truth import open_truth
from diffinf_core.experiments.retrain import read_arms
from diffinf_core.export.audit import stored_audit
from diffinf_core.influence.estimators import quality
from diffinf_core.influence.predictor import PREDICTOR
from diffinf_core.influence.stage import (
    INFLUENCE,
    estimator_of,
    ranking,
    ranking_key,
    read_scores,
    scores_key,
)
from diffinf_core.records import ACTIONS, Decision
from diffinf_core.report.precision import precision_figures, precision_key
from diffinf_core.review.effort import MANNERS, manner
from diffinf_core.review.opening import read_decisions
from diffinf_core.review.queue import edit_rows, queue_key
from diffinf_core.runs.files import digest
from diffinf_core.runs.run import Run


def _dataset(run: Run) -> dict[str, Any] | None:
    stage = DATA.folder(run)
    return stage.figures if stage.done else None


class Once(Protocol):
    """Returns what ``make`` returns; may keep it under ``name`` until another ``key`` is given."""

    def __call__(self, name: str, key: str, make: Callable[[], Any]) -> Any:
        """The value that belongs to the key."""


def _afresh(name: str, key: str, make: Callable[[], Any]) -> Any:
    return make()


def _scores(run: Run, once: Once) -> pd.DataFrame:
    table: pd.DataFrame = once("scores", scores_key(run), lambda: read_scores(run))
    return table


def influence_figures(run: Run, once: Once = _afresh) -> dict[str, Any] | None:
    """What the ranking was made from and, where the truth is known, what each score finds.

    None before the ranking; ``once`` as for :func:`summarise`.
    """
    if not INFLUENCE.folder(run).done:
        return None
    key = digest(scores_key(run), ranking_key(run))
    figures: dict[str, Any] = once(
        "report.influence", key, lambda: _influence(run, _scores(run, once))
    )
    return figures


def _influence(run: Run, table: pd.DataFrame) -> dict[str, Any]:
    stage = INFLUENCE.folder(run)
    config, estimator = run.config.influence, estimator_of(run)
    out: dict[str, Any] = {
        "estimator": estimator,
        "tau": config.tau,
        "checkpoint_rule": config.checkpoint_rule,
        "checkpoint_epochs": stage.figures["checkpoint_epochs"],
        "seconds": stage.figures.get("seconds"),
        "average_precision": None,
        "precision_at_tau": None,
        "by_signal": {},
    }
    truth = open_truth(run, "report").training()
    # With no wrong label there is nothing to find, and average precision does not exist.
    if truth is None or not truth[1].any():
        return out
    names = [c for c in table.columns if c != "id"]
    if estimator not in names:  # a rank mean
        names.append(estimator)
    out["by_signal"] = quality(table, names, truth[1], config.tau)
    out |= out["by_signal"][estimator]
    return out


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _repair(run: Run) -> dict[str, Any] | None:
    if not REPAIR.done(run):
        return None
    stage = REPAIR.folder(run)
    train = open_training(run)
    edits = edit_rows(run)
    if edits.empty:
        return None
    labels = edits["label"].to_numpy()
    before = (edits["judge_class_before"] == edits["label"]).to_numpy()
    after = (edits["judge_class_after"] == edits["label"]).to_numpy()
    truth = open_truth(run, "report").training()
    wrong = None
    if truth is not None:
        at = {s: i for i, s in enumerate(train.ids)}
        wrong = truth[1][[at[sample] for sample in edits["id"]]]
    identity = edits["identity"].dropna().to_list()
    first = load_edit(run, edits["id"][0], edits["version"][0])
    flags = (name for text in edits["flags"] if text for name in text.split(", "))

    def by_class(values: np.ndarray, rows: np.ndarray) -> dict[str, float | None]:
        return {name: _mean(list(values[rows & (labels == name)])) for name in train.classes}

    def mean(name: str) -> float:
        return float(edits[name].to_numpy().mean())

    everything = np.ones(len(edits), bool)
    perceptual = edits["perceptual"].to_numpy()
    similar = edits["ssim"].to_numpy()
    shifted = wrong if wrong is not None else everything
    return {
        "n": len(edits),
        "judge": judge_name(run),
        "identity_network": first.identity_name,
        "lpips_network": first.perceptual_name,
        # runs of earlier versions name it "told_label"
        "label_conditioned": stage.figures.get(
            "label_conditioned", stage.figures.get("told_label")
        ),
        # of all attempts, where there were several
        "seconds_per_image": stage.figures.get("seconds_of_edits", edits["seconds"].sum())
        / len(edits),
        "judge_agreement_before": float(before.mean()),
        "judge_agreement_after": float(after.mean()),
        # where a published judge judges, the one that the run trained on its own labels
        "cross_judge_agreement_after": _mean(edits["cross_judge_agrees"].dropna().to_list()),
        "judge_agreement_by_class": by_class(after, everything),
        "judge_agreement_mislabelled": None if wrong is None else _mean(list(after[wrong])),
        "judge_agreement_mislabelled_before": None if wrong is None else _mean(list(before[wrong])),
        "judge_agreement_correct": None if wrong is None else _mean(list(after[~wrong])),
        "judge_agreement_correct_before": None if wrong is None else _mean(list(before[~wrong])),
        "ssim_correct": None if wrong is None else _mean(list(similar[~wrong])),
        "judge_agreement_mislabelled_by_class": by_class(after, shifted)
        if wrong is not None
        else None,
        "identity_mean": _mean(identity),
        "identity_p10": float(np.percentile(identity, 10)) if identity else None,
        "lpips_mean": float(perceptual.mean()),
        "lpips_floor": mean("perceptual_floor"),
        "lpips_by_class": by_class(perceptual, everything),
        "ssim_mean": float(similar.mean()),
        "h_before": mean("h_before"),
        "h_after": mean("h_after"),
        "influence_before": mean("influence_before"),
        "influence_after": mean("influence_after"),
        "flagged": dict(Counter(flags)),
    }


def _review(run: Run, decisions: Mapping[str, Decision]) -> dict[str, int] | None:
    if not DATA.folder(run).done:
        return None
    counts = Counter(d.state for d in decisions.values())
    manners = Counter(manner(d) for d in decisions.values() if not d.between)
    names = {"accept": "accepted", "reject": "rejected", "keep": "kept", "relabel": "relabelled"}
    names |= {"drop": "dropped", "second_look": "second_look"}
    out = {names[a]: counts.get(a, 0) for a in ACTIONS} | {"disagreement": counts["disagreement"]}
    return out | {kind.replace(" ", "_"): manners[kind] for kind in MANNERS}


def summarise(
    run: Run, once: Once = _afresh, decisions: Mapping[str, Decision] | None = None
) -> dict[str, Any]:
    """Everything worth reporting about a run; JSON-able.

    ``once`` may cache the slow sections by their keys; ``decisions`` are the standing ones, where the
    caller has the journal open.
    """
    if decisions is None:
        decisions = read_decisions(run) if DATA.folder(run).done else {}
    classifier = CLASSIFIER.folder(run) if DATA.folder(run).done else None
    predictor = PREDICTOR.folder(run)
    high = None
    if INFLUENCE.folder(run).done:
        high = once(
            "report.high",
            digest(ranking_key(run)),
            lambda: int(ranking(run, scores=_scores(run, once))["high"].sum()),
        )
    repair = (
        once("report.repair", queue_key(run), lambda: _repair(run)) if REPAIR.done(run) else None
    )
    return {
        "dataset": _dataset(run),
        "classifier": classifier.figures if classifier and classifier.done else None,
        "influence": influence_figures(run, once),
        "high_influence": high,
        "precision": once(
            "report.precision",
            precision_key(run, decisions),
            lambda: precision_figures(run, decisions),
        )
        if INFLUENCE.folder(run).done
        else None,
        "predictor": predictor.figures if predictor.done else None,
        "repair": repair,
        "review": _review(run, decisions),
        "audit": stored_audit(run),
        "arms": read_arms(run) if DATA.folder(run).done else {},
    }
