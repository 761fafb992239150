"""The queue of pairs to review: the high-influence set, most suspicious first."""

from __future__ import annotations

import numpy as np
import pandas as pd

from diffinf_core.correction.edits import load_edit
from diffinf_core.correction.stage import repair_stage
from diffinf_core.data.ingest import data_stage
from diffinf_core.data.training import open_training
from diffinf_core.influence.stage import ranking
from diffinf_core.records import DiffInfError
from diffinf_core.review.journal import Journal
from diffinf_core.store import Run, read_json


def open_journal(run: Run) -> Journal:
    """The journal of a run."""
    stage = data_stage(run)
    if not stage.done:
        raise DiffInfError(f"{run.root} has no data yet; start the run first.")
    return Journal(run.root / "review" / "journal.sqlite", read_json(stage / "classes.json"))


def suggestion(
    label: str, classes: list[str], judge_before: list[float], judge_after: list[float], flags: dict
) -> tuple[str, str]:
    """(action, reason): what the figures speak for; a person decides."""
    order = np.argsort(judge_before)[::-1]
    top, p = classes[int(order[0])], judge_before[int(order[0])]
    after = judge_after[classes.index(label)]
    if top == label:
        return "keep", f"the judge sees {label} in the original ({p:.2f})"
    if flags:
        name, why = next(iter(flags.items()))
        return "relabel", f"{name}: {why}; the judge sees {top} in the original ({p:.2f})"
    return "accept", f"the judge sees {label} in the edit ({after:.2f}), {top} in the original"


COLUMNS = (
    "id", "rank", "score", "percentile", "label", "version", "identity", "perceptual", "h_before",
    "h_after", "judge_before", "judge_after", "judge_class_before", "judge_class_after", "flags",
    "suggestion", "reason",
)  # fmt: skip


def build_queue(run: Run) -> pd.DataFrame:
    """One row per repaired sample, by rank: the scores a reviewer sorts and filters by.

    Columns: id, rank, score, percentile (of self-influence among the training set, whatever the
    queue is ranked by), label, version, identity, perceptual, h_before, h_after, judge_before
    and judge_after (probability of the assigned label), judge_class_before, judge_class_after,
    flags, suggestion, reason.
    """
    stage = repair_stage(run)
    if not stage.done:
        raise DiffInfError(f"{run.root} has no repairs yet; run it first.")
    train = open_training(run)
    classes = list(train.classes)
    ranked = ranking(run).set_index("id")
    by_influence = run.config.influence.model_copy(update={"estimator": "self_influence"})
    percentile = ranking(run, by_influence).set_index("id")["percentile"]
    rows = []
    for sample, version in read_json(stage / "versions.json").items():
        edit = load_edit(run, sample, version)
        at = classes.index(edit.label)
        action, reason = suggestion(
            edit.label, classes, edit.judge_before, edit.judge_after, edit.flags
        )
        rows.append(
            {
                "id": sample,
                "rank": int(ranked["rank"][sample]),
                "score": float(ranked["score"][sample]),
                "percentile": float(percentile[sample]),
                "label": edit.label,
                "version": version,
                "identity": edit.identity,
                "perceptual": edit.perceptual,
                "h_before": edit.h_before,
                "h_after": edit.h_after,
                "judge_before": edit.judge_before[at],
                "judge_after": edit.judge_after[at],
                "judge_class_before": classes[int(np.argmax(edit.judge_before))],
                "judge_class_after": classes[int(np.argmax(edit.judge_after))],
                "flags": ", ".join(edit.flags),
                "suggestion": action,
                "reason": reason,
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS).sort_values("rank", ignore_index=True)
