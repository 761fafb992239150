"""What the browser gets of 70,000 samples at once: typed arrays in base64, never a row of JSON each."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from diffinf_core.engine import STATES, OpenRun

#: little-endian types that a browser has an array for
_TYPES = {"f4": "<f4", "u4": "<u4", "u2": "<u2", "u1": "<u1"}


def packed(values: ArrayLike, kind: str) -> dict[str, str]:
    """Numbers as ``{"type", "data"}``: base64 of a little-endian array of type f4, u4, u2 or u1."""
    array = np.ascontiguousarray(values, _TYPES[kind])
    return {"type": kind, "data": base64.b64encode(array.tobytes()).decode()}


def packed_ids(ids: pd.Series) -> str:
    """Sample ids, 12 hexadecimal digits each, as base64 of 6 bytes each."""
    return base64.b64encode(bytes.fromhex("".join(ids))).decode()


def categories(name: str, cells: pd.Series) -> dict[str, Any]:
    """A colouring by the values of a column: their names, most frequent first, and a code each."""
    counts = cells.value_counts()
    codes = pd.Index(counts.index).get_indexer(cells)
    return {
        "name": name,
        "values": [str(v) for v in counts.index],
        "codes": packed(codes, "u1" if len(counts) <= 256 else "u2"),
    }


def _flags(run: OpenRun, ids: pd.Series) -> pd.Series:
    """The first flag of each sample's edit, "no flag", or "no edit"."""
    if not run.status()["repair"]:
        return pd.Series("no edit", ids.index)
    first = run.queue["flags"].str.partition(", ")[0].replace("", "no flag")
    return ids.map(dict(zip(run.queue["id"], first, strict=True))).fillna("no edit")


def points(run: OpenRun, method: str) -> dict[str, Any]:
    """Everything the map draws, in training order, but the states of decision."""
    coordinates, share = run.explore.map.coordinates(method)
    samples = run.explore.samples()
    table = samples.table
    high = table["high"].map({True: "high-influence", False: "others"})
    return {
        "ids": packed_ids(table["id"]),
        "x": packed(coordinates[:, 0], "f4"),
        "y": packed(coordinates[:, 1], "f4"),
        "share": share,
        "score": packed(table["score"], "f4"),
        "rank": packed(table["rank"], "u4"),
        "columns": [
            categories("high-influence", high),
            categories("flag", _flags(run, table["id"])),
            *(categories(str(name), cells) for name, cells in samples.groups.items()),
        ],
    }


def decision_states(states: NDArray[np.uint8]) -> dict[str, Any]:
    """The states of decision as a colouring."""
    return {"name": "decision", "values": list(STATES), "codes": packed(states, "u1")}


def score_values(run: OpenRun) -> dict[str, Any]:
    """What the picture of the distribution needs: every score, and the run's tau in per cent."""
    influence = run.config.influence
    return {
        "estimator": run.explore.scores.used(),
        "tau": influence.tau,
        "score": packed(run.explore.samples().table["score"], "f4"),
    }
