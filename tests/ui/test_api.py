"""What the endpoints answer to programs; over HTTP they are in tests/ui/review/test_review_page.py."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from diffinf_core.records import DiffInfError
from diffinf_core.ui.api import Endpoints
from diffinf_core.ui.session import Session


def test_a_selection_holds_pictures_without_an_edit_too(run_copy: Path) -> None:
    session = Session(run_copy)
    ends, asks = Endpoints(session), SimpleNamespace(username=None)
    request: Any = asks
    edited = str(session.run.queue["id"].iloc[0])
    other = next(str(i) for i in session.run.training.ids if str(i) not in session.run.queue.index)
    session.select("local", [other, edited])
    rows = ends.queue(request, "selection")
    assert [row["id"] for row in rows] == [other, edited]
    assert rows[0].keys() == rows[1].keys() == ends.queue(request)[0].keys()
    assert rows[1] == next(row for row in ends.queue(request) if row["id"] == edited)
    assert ends.queue(request, "selection", 1, 1) == rows[1:]
    with pytest.raises(DiffInfError, match="count 1 to"):
        ends.queue(request, "selection", 0, 0)
