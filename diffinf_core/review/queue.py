"""The queue of pairs to review: the high-influence set, most suspicious first."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from diffinf_core.correction.edits import load_edit
from diffinf_core.correction.stage import REPAIR
from diffinf_core.correction.usual import flagged, usual_of
from diffinf_core.data.part import open_training
from diffinf_core.influence.stage import ranking, ranking_key
from diffinf_core.records import GROUP_SIZES, DiffInfError, Edit
from diffinf_core.runs.files import digest, read_json, write_json
from diffinf_core.runs.run import Run
from diffinf_core.runs.seal import under_seal


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


#: a probability of the judge from which it speaks for another label
_SURE = 0.5


def suggestion_unedited(
    label: str, classes: Sequence[str], judge: Sequence[float]
) -> tuple[str, str, str]:
    """(action, class to relabel to, reason) for a picture without an edit, by the judge's probabilities.

    All are "" where the judge sees another class and is not sure of it.
    """
    top = int(np.argmax(judge))
    p = judge[top]
    if classes[top] == label:
        return "keep", "", f"the judge sees {label} in the picture ({p:.2f})"
    if p < _SURE:
        return "", "", ""
    own = judge[list(classes).index(label)]
    return "relabel", classes[top], f"the judge sees {classes[top]} ({p:.2f}), {label} {own:.2f}"


#: what comes from the ranking and the data set, from the edit as a figure, and from it as text
_PLACED = ("id", "rank", "score", "percentile", "label", "version", "group")
_FIGURES = (
    "identity", "perceptual", "ssim", "h_before", "h_after", "judge_before", "judge_after",
    "influence_before", "influence_after", "sharpness", "changed_area", "changed_outside",
    "strongest_change", "colour_shift",
)  # fmt: skip
_TEXTS = ("judge_class_before", "judge_class_after", "flags", "suggestion", "reason")
#: the columns of every queue; those of the data set's own subgroups follow, see :data:`BY`
COLUMNS = (*_PLACED, *_FIGURES, *_TEXTS)
#: what the name of a subgroup's column begins with
BY = "by_"
#: what the report adds up beside them; no columns of a queue
_COSTS = ("perceptual_floor", "seconds", "cross_judge_agrees")
#: belongs to the cached rows; another one where they are made in another way
_MADE = 5


def _row(edit: Edit, classes: list[str]) -> dict[str, Any]:
    """What a row says of the edit itself."""
    at = classes.index(edit.label)
    action, reason = suggestion(
        edit.label, classes, edit.judge_before, edit.judge_after, edit.flags
    )
    own = {
        name: getattr(edit, name)
        for name in (*_FIGURES, *_COSTS)
        if not name.startswith(("judge_", "cross_judge_"))
    }
    cross = edit.cross_judge_after
    return {
        "id": edit.sample,
        "version": edit.version,
        "label": edit.label,
        **own,
        "judge_before": edit.judge_before[at],
        "judge_after": edit.judge_after[at],
        "cross_judge_agrees": None if cross is None else float(np.argmax(cross) == at),
        "judge_class_before": classes[int(np.argmax(edit.judge_before))],
        "judge_class_after": classes[int(np.argmax(edit.judge_after))],
        "flags": ", ".join(edit.flags),
        "suggestion": action,
        "reason": reason,
    }


def _versions(run: Run) -> dict[str, str]:
    stage = REPAIR.folder(run)
    if not stage.done:
        raise DiffInfError(f"{run.root} has no repairs yet; run it first.")
    return read_json(stage / "versions.json")


def edit_rows(run: Run) -> pd.DataFrame:
    """The part of the queue that follows from the edits, with what the report adds up of each.

    In the order of ``versions.json``; kept in one file, as the edits are thousands.
    """
    versions, classes = _versions(run), list(open_training(run).classes)
    file, key = REPAIR.folder(run) / "rows.json", digest(_MADE, versions, classes)
    kept: Any = None
    if file.exists():
        with contextlib.suppress(DiffInfError):  # a broken one is made again
            kept = read_json(file)
    if not (isinstance(kept, dict) and kept.get("key") == key):
        usual = usual_of(run)
        edits = (flagged(load_edit(run, s, v), usual) for s, v in versions.items())
        rows = [_row(edit, classes) for edit in edits]
        names = ["id", "version", "label", *_FIGURES, *_COSTS, *_TEXTS]
        kept = {"key": key, "columns": {name: [row[name] for row in rows] for name in names}}
        # where it cannot be kept, as on a run that may only be read, it costs time again
        with contextlib.suppress(OSError, DiffInfError, ValueError):
            write_json(file, kept)
    table = pd.DataFrame(kept["columns"])
    return table.astype(dict.fromkeys((*_FIGURES, *_COSTS), float))


def _places(run: Run, samples: Sequence[str]) -> pd.DataFrame:
    """Rank, scores, group and subgroups of training samples, in their order."""
    train = open_training(run)
    ranked = ranking(run).set_index("id")
    by_influence = run.config.influence.model_copy(update={"estimator": "self_influence"})
    # percentile of self-influence, whatever the queue is ranked by
    percentile = ranking(run, by_influence).set_index("id")["percentile"]
    order = pd.Index(samples)
    table = train.table.set_index("id").reindex(order)
    group = train.group_column
    out: dict[str, Any] = {
        "id": list(samples),
        "rank": ranked["rank"].reindex(order).to_numpy(int),
        "score": ranked["score"].reindex(order).to_numpy(float),
        "percentile": percentile.reindex(order).to_numpy(float),
        "group": "" if group is None else table[group].to_numpy(),
    }
    for name in train.table.columns:
        if name in ("id", "file", "label", group):
            continue
        if train.table[name].nunique() in GROUP_SIZES:
            out[f"{BY}{name}"] = table[name].to_numpy()
    return pd.DataFrame(out)


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    more = [name for name in table.columns if name.startswith(BY)]
    return table[[*COLUMNS, *more]]


@under_seal
def build_queue(run: Run) -> pd.DataFrame:
    """One row per repaired sample, by rank: the scores a reviewer sorts and filters by.

    Columns: id, rank, score, percentile (of self-influence among the training set, whatever the
    queue is ranked by), label, version, group (the value of the data set's group column, or ""), then of
    the edit identity, perceptual, ssim, h, probability of the assigned label by the judge, and
    self-influence before and after, sharpness, changed_area, changed_outside, strongest_change (NaN
    where not measured), judge_class_before, judge_class_after, flags, suggestion, reason; and each column
    of the data set that cuts it into groups, as "by_" and its name.
    """
    edits = edit_rows(run)
    table = _places(run, list(edits["id"])).merge(edits, on="id", how="left", validate="1:1")
    return _ordered(table).sort_values("rank", ignore_index=True)


@under_seal
def unedited(run: Run, samples: Sequence[str]) -> pd.DataFrame:
    """Rows like the queue's for training samples without an edit, in the order they are given.

    version and all text of the edit are "", its figures NaN. Raises :class:`DiffInfError` for an id that
    is none of the training split's.
    """
    train = open_training(run)
    labels = [train.sample(train.position(sample)).label for sample in samples]
    table = _places(run, samples).assign(
        label=labels,
        version="",
        **dict.fromkeys(_FIGURES, float("nan")),
        **dict.fromkeys(_TEXTS, ""),
    )
    return _ordered(table)


def queue_key(run: Run) -> str:
    """What the queue depends on: the ranking and the versions."""
    return digest(ranking_key(run), _versions(run))
