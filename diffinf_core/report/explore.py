"""The training split as a table that can be filtered, sorted and paged.

Positions are those of the training split; a page of 50 rows is all that ever leaves this module as
text, however long the split is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.data.part import open_training
from diffinf_core.influence.estimators import rank_table, score_of
from diffinf_core.influence.stage import estimator_of, read_scores
from diffinf_core.records import ACTIONS, GROUP_SIZES, Decision, DiffInfError
from diffinf_core.report.subgroups import subgroup_columns
from diffinf_core.runs.run import Run

UNDECIDED = "undecided"
#: what a sample can be: its standing decision, or none
STATES = (UNDECIDED, *ACTIONS, "disagreement")
_STATE = {name: i for i, name in enumerate(STATES)}


@dataclass(frozen=True)
class Samples:
    """Every training sample with its scores and subgroups, in training order.

    ``table`` has id, file, label, score (the one the run ranks by), rank, high; ``scores`` a column for
    each score there is, high is suspicious; ``groups`` a column for each way to cut the split into
    subgroups, the label first.
    """

    table: pd.DataFrame
    scores: pd.DataFrame
    groups: pd.DataFrame

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def _files(self) -> dict[str, str]:
        return dict(zip(self.table["id"], self.table["file"], strict=True))

    def file(self, sample: str) -> str:
        """The file of a sample; :class:`DiffInfError` for one that is not in the training split."""
        if sample not in self._files:
            raise DiffInfError(f"There is no training sample {sample!r} in this run.")
        return self._files[sample]

    @cached_property
    def places(self) -> pd.Index:
        """The ids; asked where one stands, it answers from a hash table that is made once."""
        return pd.Index(self.table["id"])

    @property
    def sorts(self) -> tuple[str, ...]:
        """What the table can be sorted by."""
        return ("rank", *self.scores.columns, "label", "file")


@dataclass(frozen=True)
class Measured:
    """What was measured of every training sample on request: numbers by name, and issues, boolean."""

    table: pd.DataFrame
    issues: pd.DataFrame

    def counts(self) -> dict[str, int]:
        """How many samples have each issue."""
        return {str(name): int(cells.sum()) for name, cells in self.issues.items()}


@dataclass(frozen=True)
class View:
    """Which samples a table shows, and in which order; the default is all, most suspicious first.

    ``group`` is a pair of column and value. ``text`` is looked for in the file's name, without regard to
    case. ``high`` is membership in the high-influence set, ``issue`` one of :class:`Measured`. ``near`` are
    samples to which those most alike come first, whatever ``sort`` says. ``ids`` are the only samples to
    show. What is None is not asked for.
    """

    label: str | None = None
    group: tuple[str, str] | None = None
    text: str = ""
    high: bool | None = None
    state: str | None = None
    tag: str | None = None
    issue: str | None = None
    near: tuple[str, ...] = ()
    ids: frozenset[str] | None = None
    sort: str = "rank"
    descending: bool = False

    def as_dict(self) -> dict[str, Any]:
        """What is asked for, JSON-able, without ``ids``."""
        usual = View()
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name != "ids" and getattr(self, f.name) != getattr(usual, f.name)
        }

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> View:
        """The view of :meth:`as_dict`; :class:`DiffInfError` for one that this version does not know."""
        known = {f.name for f in fields(cls)} - {"ids"}
        unknown = next((name for name in given if name not in known), None)
        if unknown is not None:
            raise DiffInfError(f"The view asks for {unknown!r}, which this version does not know.")
        values = dict(given)
        if values.get("group") is not None:
            column, value = values["group"]
            values["group"] = (column, value)
        values["near"] = tuple(values.get("near", ()))
        return cls(**values)


def read_samples(run: Run, scores: pd.DataFrame | None = None) -> Samples:
    """Collect what a ranked run knows of its training samples.

    ``scores`` are those of :func:`read_scores` where the caller has read them already.
    """
    train, config = open_training(run), run.config.influence
    scores = read_scores(run) if scores is None else scores
    ranked = rank_table(scores["id"], score_of(scores, estimator_of(run)), config.tau)
    table = train.table[["file", "label"]].assign(
        id=train.ids,
        **{name: ranked[name].to_numpy() for name in ("score", "rank", "high")},
    )
    return Samples(table, scores.drop(columns="id"), train.table[subgroup_columns(train.table)])


def states(samples: Samples, decisions: Mapping[str, Decision]) -> NDArray[np.uint8]:
    """The state (N,) of each sample as an index into :data:`STATES`."""
    out = np.zeros(len(samples), np.uint8)
    at = samples.places.get_indexer(pd.Index(list(decisions), dtype=samples.places.dtype))
    made = np.fromiter((_STATE[d.state] for d in decisions.values()), np.uint8, len(decisions))
    out[at[at >= 0]] = made[at >= 0]
    return out


def positions(
    samples: Samples,
    decisions: Mapping[str, Decision],
    view: View,
    tagged: Mapping[str, frozenset[str]] | None = None,
    measured: Measured | None = None,
    similarity: NDArray[np.float32] | None = None,
) -> NDArray[np.int64]:
    """Where the samples of a view stand, in its order; :class:`DiffInfError` for what is not there.

    ``tagged`` are the samples of each tag, of which a tag that nothing has shows nothing; ``measured`` is
    None where nothing was measured; ``similarity`` (N,) is how alike each sample is to those of ``near``.
    """
    table, keep = samples.table, np.ones(len(samples), bool)
    if view.label is not None:
        keep &= (table["label"] == view.label).to_numpy()
    if view.group is not None:
        column, value = view.group
        if column not in samples.groups:
            raise DiffInfError(
                f"The data set has no column {column!r} of {GROUP_SIZES[0]} to {GROUP_SIZES[-1]} values."
            )
        keep &= (samples.groups[column] == value).to_numpy()
    if view.text:
        keep &= table["file"].str.contains(view.text, case=False, regex=False).to_numpy()
    if view.high is not None:
        keep &= table["high"].to_numpy() == view.high
    if view.state is not None:
        if view.state not in STATES:
            raise DiffInfError(f"Unknown state {view.state!r}; choose one of {', '.join(STATES)}.")
        keep &= states(samples, decisions) == STATES.index(view.state)
    if view.tag is not None:
        keep &= table["id"].isin((tagged or {}).get(view.tag, frozenset())).to_numpy()
    if view.issue is not None:
        if measured is None or view.issue not in measured.issues:
            raise DiffInfError(
                f"No picture was looked at for being {view.issue}; measure them first."
            )
        keep &= measured.issues[view.issue].to_numpy()
    if view.ids is not None:
        keep &= table["id"].isin(view.ids).to_numpy()
    rows = np.flatnonzero(keep)
    if similarity is not None:
        return rows[np.argsort(-similarity[rows], kind="stable")]
    return rows[_order(samples, rows, view, measured)]


def _order(
    samples: Samples, rows: NDArray[np.int64], view: View, measured: Measured | None
) -> NDArray[np.int64]:
    more = [] if measured is None else [str(name) for name in measured.table]
    if view.sort not in (*samples.sorts, *more):
        raise DiffInfError(
            f"Samples cannot be sorted by {view.sort!r}; choose one of "
            f"{', '.join((*samples.sorts, *more))}."
        )
    source = samples.scores if view.sort in samples.scores else samples.table
    if measured is not None and view.sort in measured.table:
        source = measured.table
    # Ties go by rank in either direction.
    ranks = samples.table["rank"].to_numpy()[rows]
    by_rank = np.argsort(ranks, kind="stable")
    keys = pd.Series(source[view.sort].to_numpy()[rows][by_rank])
    found = keys.sort_values(ascending=not view.descending, kind="stable").index.to_numpy()
    return by_rank[found]


def disagreement(samples: Samples, first: str, second: str, tau: float) -> pd.DataFrame:
    """Samples in the top tau % of one score and not of the other, the widest apart first.

    Columns position, first and second: where it stands, and its rank in either score.
    """
    for name in (first, second):
        if name not in samples.scores:
            raise DiffInfError(f"The score {name!r} is not computed here.")
    a, b = (
        rank_table(samples.table["id"], samples.scores[name].to_numpy(float), tau)
        for name in (first, second)
    )
    rows = np.flatnonzero((a["high"] & ~b["high"]).to_numpy())
    found = pd.DataFrame(
        {
            "position": rows,
            "first": a["rank"].to_numpy()[rows],
            "second": b["rank"].to_numpy()[rows],
        }
    )
    apart = (found["first"] - found["second"]).sort_values(kind="stable").index
    return found.loc[apart].reset_index(drop=True)
