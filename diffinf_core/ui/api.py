"""The app's endpoints for programs: the verbs of a review, by name.

``gradio_client.Client(address).predict(..., api_name="/decide")`` calls them; so does a POST. They do what
:class:`diffinf_core.engine.OpenRun` does, under the name of the logged-in user. Everything that a page
needs for itself is private.
"""

from __future__ import annotations

import functools
from dataclasses import asdict
from typing import Any

import gradio as gr
import pandas as pd

from diffinf_core.records import Choice, DiffInfError
from diffinf_core.ui.filters import Filter
from diffinf_core.ui.session import Session, reviewer_of

#: rows of the queue in one answer
MOST_ROWS = 500


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise DiffInfError(f"{name} must be text, not {type(value).__name__}.")
    return value


def _number(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise DiffInfError(f"{name} must be a whole number, not {type(value).__name__}.")
    return value


class Endpoints:
    """Plain functions with plain types; each refuses what is none of its own in one sentence."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def status(self) -> dict[str, bool]:
        """Which stages of the run are complete."""
        return self.session.run.status()

    def report(self) -> dict[str, Any]:
        """The run in figures."""
        return self.session.run.report()

    def queue(
        self, request: gr.Request, state: str = "to do", start: int = 0, count: int = 100
    ) -> list[dict[str, Any]]:
        """Rows of the queue from ``start``, at most 500: ids, scores, flags and suggestion."""
        at, most = _number(start, "start"), _number(count, "count")
        if at < 0 or not 1 <= most <= MOST_ROWS:
            raise DiffInfError(f"start must be 0 or more and count 1 to {MOST_ROWS}.")
        wanted = Filter(state=_text(state, "state"))
        ids = self.session.filtered(wanted, reviewer_of(request))[at : at + most]
        table = self.session.run.queue
        if not set(ids) <= set(table.index):  # selected in Explore, without an edit
            return _plain(pd.DataFrame([self.session.run.review.row(i) for i in ids]))
        return _plain(table.loc[ids])

    def next(self, request: gr.Request) -> dict[str, Any]:
        """The pair for you to judge next, held for you; empty where nothing is left.

        ``role`` is "second" where yours is to be an opinion that does not know the first one.
        """
        found = self.session.next_for(reviewer_of(request))
        if found is None:
            return {}
        sample, role = found
        return {**_plain(self.session.run.review.row(sample).to_frame().T)[0], "role": role}

    def decide(
        self,
        request: gr.Request,
        sample: str,
        action: str,
        version: str = "",
        new_label: str = "",
        comment: str = "",
    ) -> dict[str, Any]:
        """Decide: accept (needs version), reject, keep, relabel (new_label), drop or second_look."""
        choice = Choice(
            _text(sample, "sample"),
            _text(action, "action"),
            _text(version, "version") or None,
            _text(new_label, "new_label") or None,
            _text(comment, "comment"),
        )
        self.session.decide(choice, reviewer_of(request))
        return {"sample": sample, "action": action}

    def decisions(self, request: gr.Request) -> list[dict[str, Any]]:
        """The standing decision of each decided sample, in the order they were made.

        Without those that wait for a second opinion of yours.
        """
        found = self.session.run.review.decisions_for(reviewer_of(request))
        return [asdict(d) for d in found.values()]

    def undo(self, request: gr.Request) -> list[str]:
        """Take your last decision back; its samples."""
        return self.session.run.review.undo(reviewer_of(request))

    def redo(self, request: gr.Request) -> list[str]:
        """Decide again what was taken back last; its samples."""
        return self.session.run.review.redo(reviewer_of(request))

    def versions(self, sample: str) -> list[dict[str, Any]]:
        """Every edit of a sample with its settings and scores, oldest first."""
        run = self.session.run
        name = _text(sample, "sample")
        return [asdict(run.pictures.record(name, v)) for v in run.pictures.versions(name)]


def _plain(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON has them: None for what is not known."""
    objects = rows.astype(object)
    return [
        {str(k): v for k, v in row.items()}
        for row in objects.where(objects.notna(), None).to_dict("records")
    ]


def publish(session: Session) -> None:
    """Make the endpoints, inside the app's blocks."""
    ends = Endpoints(session)
    asked: dict[str, Any] = {"queue": False, "api_visibility": "public"}
    for name in (
        "status",
        "report",
        "queue",
        "next",
        "decide",
        "decisions",
        "undo",
        "redo",
        "versions",
    ):
        gr.api(_answering(getattr(ends, name)), api_name=name, **asked)


def _answering(method: Any) -> Any:
    """The method with its complaints as Gradio errors, so that a client gets the sentence."""

    @functools.wraps(method)
    def answer(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except DiffInfError as error:
            raise gr.Error(str(error)) from error

    return answer
