"""Lists of samples as an open page scrolls through them: the order holds until the page asks for another."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from typing import Any

import gradio as gr
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.engine import STATES, OpenRun
from diffinf_core.records import DiffInfError
from diffinf_core.ui.explore import data as explore_data
from diffinf_core.ui.session import Session

#: lists that are remembered; one of 70,000 samples takes half a megabyte
KEPT = 32
#: cells that leave the server in one answer
MOST_CELLS = 200
Positions = NDArray[np.int64]


class Listings:
    """Positions in the training split under tokens, the longest unused forgotten first; shared by threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Positions] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, data_key: str, positions: Positions) -> str:
        """The token of a list; the same list of the same data set has the same one."""
        token = hashlib.sha256(data_key.encode() + positions.tobytes()).hexdigest()[:16]
        with self._lock:
            self._kept[token] = positions
            self._kept.move_to_end(token)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return token

    def get(self, token: str) -> Positions | None:
        """The list of a token; None where it is forgotten, as after the server was started again."""
        with self._lock:
            found = self._kept.get(token)
            if found is not None:
                self._kept.move_to_end(token)
            return found


def cells(run: OpenRun, positions: Positions) -> list[dict[str, Any]]:
    """What the grid shows of samples: id, file, label, rank, high, state and tags."""
    table = run.explore.samples().table.iloc[positions]
    states, tags = run.explore.states()[positions], run.tags.of(table["id"])
    names = ("id", "file", "label", "rank", "high")
    rows: list[dict[Any, Any]] = table[list(names)].to_dict("records")
    return [
        {**row, "state": STATES[state], "tags": own}
        for row, state, own in zip(rows, states.tolist(), tags, strict=True)
    ]


def _asked(given: Any) -> tuple[str, int, int]:
    """Token and two numbers, as the page's script sends them; :class:`DiffInfError` for anything else."""
    if isinstance(given, list) and len(given) == 3:
        token, *numbers = given
        if isinstance(token, str) and all(type(n) is int and n >= 0 for n in numbers):
            return token, numbers[0], numbers[1]
    raise DiffInfError("A token and two numbers are needed.")


class Grid:
    """The grid of thumbnails; :meth:`value` makes it show a list."""

    def __init__(self, session: Session) -> None:
        self.session, self.listings = session, Listings()

        def answered(given: Any, start_end: bool) -> dict[str, Any]:
            try:
                token, start, number = _asked(given)
                found = self.listings.get(token)
                if found is None:
                    return {"error": "This list is no longer known.", "gone": True}
                end = number if start_end else start + min(number, MOST_CELLS)
                part, run = found[start:end], session.run
                if not start_end:
                    return {"cells": cells(run, part)}
                chosen: pd.Series = run.explore.samples().table["id"].iloc[part]
                return {"ids": explore_data.packed_ids(chosen)}
            except DiffInfError as error:
                return {"error": str(error)}

        # The names are those that the script calls.
        def cells_(given: Any) -> dict[str, Any]:
            return answered(given, start_end=False)

        def ids(given: Any) -> dict[str, Any]:
            return answered(given, start_end=True)

        cells_.__name__ = "cells"
        self.html = gr.HTML(
            value="",
            html_template='<div class="di-grid"></div>',
            js_on_load="window.diGrid.mount(element, props, server, watch, trigger)",
            server_functions=[cells_, ids],
            elem_id="explore-grid",
            apply_default_css=False,
        )

    def value(self, positions: Positions, stay: bool = False) -> str:
        """What makes the grid show these samples in this order; ``stay``: where it is scrolled to now."""
        key = self.session.run.pictures.data_key
        token = self.listings.keep(key, positions)
        run = self.session.run
        shown = [run.explore.states()[positions].tobytes().hex(), run.tags.key()]
        stamp = hashlib.sha256("".join(shown).encode()).hexdigest()[:16]
        found = {"token": token, "total": len(positions), "of": key, "stay": stay, "stamp": stamp}
        return json.dumps(found)
