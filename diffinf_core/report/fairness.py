"""The audit of subgroups: what ranking, repair and review do to each group and class, and to its accuracy."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.experiments.comparison import Comparison, tidy
from diffinf_core.experiments.fairness import GroupFigures, changed_groups, group_figures
from diffinf_core.experiments.quantities import BY, WITHIN
from diffinf_core.records import Decision
from diffinf_core.report.disparity import DECIDING, disparities, in_words, measures
from diffinf_core.report.explore import Samples
from diffinf_core.report.subgroups import Share, wilson
from diffinf_core.report.subgroups import warnings as shift_warnings
from diffinf_core.report.verdict import parts_in_words

_DECIDED = {"accepted": "accept", "dropped": "drop", "relabelled": "relabel"}


@dataclass(frozen=True)
class Audit:
    """What happened to each group, as far as the run got.

    ``training`` has a row per group and per class within it (class "" is the whole group): column, value,
    class, n, wrong (None where nobody knows), flagged and edited among its pictures, decided (a number),
    accepted, dropped and relabelled among those; fractions with 95 % Wilson intervals or None.
    ``test`` holds the rows of :func:`~diffinf_core.experiments.comparison.tidy` that are about classes,
    groups and classes within them, ``arms`` the worst group and equal opportunity of each arm; both are
    empty before a retraining. Sentences: ``disparities`` (groups that repair or review treat unlike the
    others), ``harms`` (groups that an arm harms), ``notes`` (what could not be read).
    """

    training: pd.DataFrame
    test: pd.DataFrame
    arms: dict[str, GroupFigures]
    disparities: tuple[str, ...]
    harms: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The same, JSON-able."""
        test = self.test.astype(object).where(self.test.notna(), None)
        return {
            "training": self.training.to_dict("records"),
            "test": test.to_dict("records"),
            "arms": {arm: asdict(figures) for arm, figures in self.arms.items()},
            "disparities": list(self.disparities),
            "harms": list(self.harms),
            "notes": list(self.notes),
        }


def training_rows(
    samples: Samples,
    edited: NDArray[np.bool_] | None,
    decisions: Mapping[str, Decision],
    wrong: NDArray[np.bool_] | None,
) -> pd.DataFrame:
    """The ``training`` of an :class:`Audit`; ``edited`` and ``wrong`` (N,) are None where nobody knows."""
    actions = samples.table["id"].map({s: d.action for s, d in decisions.items()})
    every = np.ones(len(samples), bool)
    counts = pd.DataFrame({"n": every, "flagged": samples.table["high"].to_numpy(bool)})
    for name, known in (("wrong", wrong), ("edited", edited)):
        counts[name] = False if known is None else known
    counts["decided"] = actions.isin(DECIDING).to_numpy()
    for past, action in _DECIDED.items():
        counts[past] = (actions == action).to_numpy()
    unknown = {"wrong": wrong is None, "edited": edited is None}
    labels = samples.groups["label"].to_numpy()
    rows = []
    for column in samples.groups.columns:
        values = samples.groups[column].to_numpy()
        whole = counts.groupby(values).sum().sort_values("n", ascending=False, kind="stable")
        parts = counts.groupby([values, labels]).sum() if column != "label" else None
        for value, row in zip(whole.index, whole.to_dict("records"), strict=True):
            rows.append(_row(str(column), str(value), "", row, unknown))
            if parts is not None:
                within = parts.loc[value]
                for name, cell in zip(within.index, within.to_dict("records"), strict=True):
                    rows.append(_row(str(column), str(value), str(name), cell, unknown))
    out = pd.DataFrame(rows).astype(object)
    return out.where(out.notna(), None)


def _row(
    column: str, value: str, name: str, counts: Mapping[Hashable, Any], unknown: Mapping[str, bool]
) -> dict[str, Any]:
    n, decided = int(counts["n"]), int(counts["decided"])
    out = {"column": column, "value": value or "(empty)", "class": name, "n": n}
    for key in ("wrong", "flagged", "edited"):
        out[key] = None if unknown.get(key) else wilson(int(counts[key]), n)
    out["decided"] = decided
    return out | {past: wilson(int(counts[past]), decided) for past in _DECIDED}


def audit(
    samples: Samples | None,
    edits: pd.DataFrame | None,
    moved: pd.DataFrame,
    decisions: Mapping[str, Decision],
    wrong: NDArray[np.bool_] | None,
    comparison: Comparison | None,
) -> Audit:
    """The audit of a run.

    ``samples`` is None before the ranking; ``edits`` is the review queue, None before a repair, and ``moved``
    its :func:`.subgroups.shifts`; ``wrong`` (N,) tells which labels are wrong, None where nobody knows;
    ``comparison`` are the retrained arms, None before them.
    """
    training, test, unlike, harmed, arms = pd.DataFrame(), pd.DataFrame(), [], [], {}
    if samples is not None:
        groups = samples.groups.drop(columns="label")
        edited = None if edits is None else samples.table["id"].isin(edits["id"]).to_numpy()
        found = disparities(measures(samples, edited, decisions), groups)
        unlike = in_words(found, {} if wrong is None else _rates(groups, wrong))
        unlike += shift_warnings(moved)
        training = training_rows(samples, edited, decisions, wrong)
    if comparison is not None:
        table = tidy(comparison, comparison.reference)
        whose = table["section"].str.startswith((BY, WITHIN)) | (table["section"] == "recall")
        test, harmed, arms = table[whose], harms(table), arm_figures(comparison)
    return Audit(training, test, arms, tuple(unlike), tuple(harmed))


def _rates(
    groups: pd.DataFrame, wrong: NDArray[np.bool_]
) -> dict[tuple[str, str], tuple[float, float]]:
    out = {}
    for column in groups.columns:
        for value in pd.unique(groups[column]):
            own = (groups[column] == value).to_numpy()
            out[str(column), str(value) or "(empty)"] = (wrong[own].mean(), wrong[~own].mean())
    return out


def arm_figures(c: Comparison) -> dict[str, GroupFigures]:
    """Worst-group accuracy and equal opportunity of each arm; empty without groups that are large enough."""
    found = {arm: group_figures(c.labels, p, c.groups) for arm, p in c.probabilities.items()}
    return {arm: figures for arm, figures in found.items() if figures is not None}


def harms(table: pd.DataFrame, titles: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each arm that harms groups beyond chance: how much, and which groups it helps.

    ``table`` is :func:`.differences.tabulate`'s; ``titles`` are names to show in the place of the arms'.
    """
    changed = changed_groups(table)
    tests = int(table["p_holm"].notna().sum())
    metrics = table[(table["section"] == "metric") & (table["name"] == "accuracy")]
    overall = metrics.set_index("arm")
    said = []
    for arm, rows in changed.groupby("arm", sort=False):
        harmed, helped = rows[rows["high"] < 0], rows[rows["low"] > 0]
        if harmed.empty:
            continue
        whole = overall.loc[arm]
        title = (titles or {}).get(str(arm), str(arm).capitalize())
        gain = f"{100 * whole['difference']:+.1f} points"
        verb = f"helps overall ({gain}) but harms" if whole["low"] > 0 else "harms"
        text = f"{title} {verb} pictures with {_changes(harmed)} against {whole['against']}"
        if len(helped):
            text += f", and helps those with {_changes(helped)}"
        text += f"; p after Holm's correction for {tests} subgroup comparisons."
        if whole["seeds"] == 1:
            text += " With one seed, chance in training is left out."
        said.append(text)
    return said


def _changes(rows: pd.DataFrame) -> str:
    return ", ".join(
        f"{str(row['section']).removeprefix(BY)} {row['name']}: {100 * row['difference']:+.1f} points of "
        f"accuracy ({100 * row['low']:+.1f} to {100 * row['high']:+.1f}, {row['n']} pictures, "
        f"p = {row['p_holm']:.2g})"
        for row in rows.to_dict("records")
    )


# ---------------------------------------------------------------- tables of text


def training_in_words(rows: pd.DataFrame) -> pd.DataFrame:
    """An :class:`Audit`'s ``training`` as text, without the columns that nothing is known of."""
    if rows.empty:
        return rows
    out = pd.DataFrame({"of": [_name(row) for row in rows.to_dict("records")]})
    out["pictures"] = [f"{n:,}" for n in rows["n"]]
    titles = {"wrong": "wrong labels", "flagged": "high-influence", "edited": "edited"}
    titles |= {"decided": "decided", "accepted": "of these accepted"}
    titles |= {"dropped": "dropped", "relabelled": "relabelled"}
    for column, title in titles.items():
        if column == "decided":
            if not rows[column].any():
                break
            out[title] = [f"{n:,}" for n in rows[column]]
        elif rows[column].notna().any():
            out[title] = [_share(value) for value in rows[column]]
    return out


def _name(row: Mapping[Hashable, Any]) -> str:
    if row["class"]:
        return f"{row['column']}: {row['value']}, {row['class']}"
    return f"{'class' if row['column'] == 'label' else row['column']}: {row['value']}"


def _share(value: Share | None) -> str:
    if value is None:
        return "-"
    p, low, high = (100 * v for v in value)
    return f"{p:.0f} %\n{low:.0f} to {high:.0f}"


def arms_in_words(arms: Mapping[str, GroupFigures]) -> pd.DataFrame:
    """Worst group and equal opportunity of each arm as text."""

    def spread(value: float | None, sd: float | None) -> str:
        if value is None:
            return "-"
        return f"{100 * value:.1f}" + ("" if sd is None else f" ± {100 * sd:.1f}")

    return pd.DataFrame(
        [
            {
                "arm": arm,
                "worst group": g.worst_group,
                "its accuracy, %": spread(g.worst, g.worst_sd),
                "equal-opportunity difference, points": spread(g.gap, g.gap_sd),
            }
            for arm, g in arms.items()
        ]
    )


def accuracy_in_words(table: pd.DataFrame, within: bool = True) -> pd.DataFrame:
    """Accuracy by group (and class ``within`` it) under each arm, with its change and interval."""
    if table.empty:
        return table
    chosen = table["section"].str.startswith((BY, WITHIN) if within else BY)
    return parts_in_words(table, list(dict.fromkeys(table.loc[chosen, "section"])))
