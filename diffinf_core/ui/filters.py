"""Which pairs are on the table and in what order: the filters of the Review page."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import pandas as pd

from diffinf_core.engine import natural_key
from diffinf_core.records import FLAGS as EDIT_FLAGS
from diffinf_core.records import GROUP_SIZES, Decision, DiffInfError

#: what "Show" offers, with its name on the page
STATES = {
    "to do": "to do",
    "all": "all",
    "decided": "decided",
    "accept": "accepted",
    "reject": "rejected",
    "keep": "kept",
    "relabel": "relabelled",
    "drop": "dropped",
    "second_look": "second look",
    "disagreement": "disagreements",
    "selection": "selected in Explore",
}
FLAGS = ("all", "flagged", "unflagged", *EDIT_FLAGS)
#: name on the page: column of the queue, whether small values come first
SORTS = {
    "most suspicious first": ("rank", True),
    "judge agrees least": ("judge_after", True),
    "judge agrees most": ("judge_after", False),
    "identity lowest": ("identity", True),
    "largest change": ("perceptual", False),
    "strongest change in one place": ("strongest_change", False),
    "h highest after": ("h_after", False),
    "influence highest": ("score", False),
    "sharpness lowest": ("sharpness", True),
    "newest decision first": ("", False),
}
#: scores that a range can be asked of: name on the page to column
SCORES = {
    "judge after": "judge_after",
    "judge before": "judge_before",
    "identity": "identity",
    "perceptual distance": "perceptual",
    "SSIM": "ssim",
    "sharpness": "sharpness",
    "changed area": "changed_area",
    "strongest change": "strongest_change",
    "h after": "h_after",
    "h before": "h_before",
    "self-influence percentile": "percentile",
}


@dataclass(frozen=True)
class Filter:
    """What a reviewer asked for; the default is everything that is left to do."""

    state: str = "to do"
    label: str = "all"
    flag: str = "all"
    sort: str = "most suspicious first"
    suggestion: str = "all"
    reviewer: str = "all"
    #: "column = value" of a subgroup
    group: str = "all"
    score: str = "judge after"
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        known = (("state", STATES), ("flag", FLAGS), ("sort", SORTS), ("score", SCORES))
        for name, choices in known:
            if getattr(self, name) not in choices:
                raise DiffInfError(
                    f"Unknown {name} {getattr(self, name)!r}; choose one of {', '.join(choices)}."
                )

    @property
    def reveals(self) -> bool:
        """Whether being under this filter, or coming early in its order, says what blind mode hides."""
        ends = (self.low, self.high)
        chosen = (self.flag, self.suggestion) != ("all", "all") or ends != (None, None)
        return chosen or self.sort not in (next(iter(SORTS)), "newest decision first")

    def concealing(self) -> Filter:
        """The same without what :attr:`reveals` something."""
        usual = Filter()
        return (
            replace(self, flag="all", suggestion="all", low=None, high=None, sort=usual.sort)
            if self.reveals
            else self
        )

    @classmethod
    def asked(cls, *given: Any) -> Filter:
        """From the page's values, in the order of the fields; the ends of the range are text there.

        Raises :class:`DiffInfError` where an end is no number, or a choice is none of those there are.
        """
        *others, low, high = given
        values = (*others, _number(low, "from"), _number(high, "to"))
        return cls(**dict(zip([f.name for f in fields(cls)], values, strict=True)))


def _number(text: Any, name: str) -> float | None:
    if not str(text or "").strip():
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise DiffInfError(f"{name!r} must be a number such as 0.5, not {text!r}.") from error
    if not math.isfinite(value):
        raise DiffInfError(f"{name!r} must be a number such as 0.5, not {text!r}.")
    return value


def subgroups(queue: pd.DataFrame) -> list[str]:
    """The choices of the subgroup filter: ``column = value``."""
    columns = [c for c in queue.columns if c == "group" or c.startswith("by_")]
    out = []
    for column in columns:
        values = sorted((v for v in queue[column].astype(str).unique() if v), key=natural_key)
        if len(values) in GROUP_SIZES:
            out += [f"{column.removeprefix('by_')} = {value}" for value in values]
    return out


def _in_group(queue: pd.DataFrame, group: str) -> pd.Series:
    column, _, value = group.partition(" = ")
    name = column if column in queue else f"by_{column}"
    if name not in queue:
        return pd.Series(False, index=queue.index)
    return queue[name].astype(str) == value


def _in_state(
    ids: list[str], state: str, decided: Mapping[str, Decision], disagreeing: Collection[str]
) -> list[str]:
    if state == "to do":
        return [i for i in ids if i not in decided or decided[i].action == "second_look"]
    if state == "decided":
        return [i for i in ids if i in decided and not decided[i].between]
    if state == "disagreement":
        return [i for i in ids if i in disagreeing]
    if state not in ("all", "selection"):
        return [i for i in ids if i in decided and decided[i].state == state]
    return ids


def chosen(
    queue: pd.DataFrame,
    wanted: Filter,
    decided: Mapping[str, Decision],
    disagreeing: Collection[str] = (),
) -> list[str]:
    """Sample ids under a filter, in its order; ids are unique."""
    table = queue
    if wanted.label != "all":
        table = table[table["label"] == wanted.label]
    if wanted.flag == "flagged":
        table = table[table["flags"] != ""]
    elif wanted.flag == "unflagged":
        table = table[table["flags"] == ""]
    elif wanted.flag != "all":
        table = table[table["flags"].str.contains(wanted.flag, regex=False)]
    if wanted.suggestion != "all":
        table = table[table["suggestion"] == wanted.suggestion]
    if wanted.group != "all":
        table = table[_in_group(table, wanted.group)]
    column = SCORES[wanted.score]
    if column in table:
        if wanted.low is not None:
            table = table[table[column].astype(float) >= wanted.low]
        if wanted.high is not None:
            table = table[table[column].astype(float) <= wanted.high]
    by, ascending = SORTS[wanted.sort]
    if by in table:
        table = table.sort_values(by, ascending=ascending, kind="stable")
    ids = _in_state([str(i) for i in table["id"]], wanted.state, decided, disagreeing)
    if wanted.reviewer != "all":
        ids = [i for i in ids if i in decided and decided[i].reviewer == wanted.reviewer]
    if not by:  # the order of the decisions
        place = {sample: n for n, sample in enumerate(decided)}
        ids.sort(key=lambda i: place.get(i, -1), reverse=True)
    return ids
