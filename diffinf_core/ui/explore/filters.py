"""Which samples the list shows, and in what order."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from diffinf_core.engine import ESTIMATORS, STATES, View, natural_key
from diffinf_core.records import DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.explore.parts import progress, skipped
from diffinf_core.ui.inputs import LenientDropdown
from diffinf_core.ui.session import Session

#: the job that measures quality and outliers
JOB = "measures"
_ALL = "all"
_HIGH = {"all": None, "high-influence": True, "others": False}
_PLAIN = {"rank": "rank", "label": "label", "file": "file name"}


def _issues(table: Any) -> list[tuple[str, str]]:
    """The issues that were measured, with how many samples have each; none before."""
    return [] if table is None else [(f"{k} ({n:,})", k) for k, n in table.counts().items()]


def _pair(group: str) -> tuple[str, str]:
    """Column and value of a choice of the subgroup filter."""
    try:
        column, value = json.loads(group)
    except (ValueError, TypeError) as error:
        raise DiffInfError(f"There is no subgroup {group!r}.") from error
    return str(column), str(value)


class Filters:
    """The row of filters; ``inputs`` in the order in which :meth:`view` takes their values."""

    def __init__(self, session: Session) -> None:
        self.session = session
        with gr.Row(elem_classes="di-filter-row"):
            self.label = LenientDropdown([_ALL], value=_ALL, label="Label", elem_id="table-label")
            self.group = LenientDropdown(
                [_ALL], value=_ALL, label="Subgroup", elem_id="table-group"
            )
            self.text = gr.Textbox(
                label="File name has", elem_id="table-text", max_lines=1, placeholder="any text"
            )
            self.high = gr.Dropdown(
                list(_HIGH), value=_ALL, label="Influence", elem_id="table-high"
            )
            self.state = gr.Dropdown(
                [_ALL, *(s.replace("_", " ") for s in STATES)],
                value=_ALL,
                label="Decision",
                elem_id="table-state",
            )
            self.tag = LenientDropdown([_ALL], value=_ALL, label="Tag", elem_id="table-tag")
            self.issue = LenientDropdown([_ALL], value=_ALL, label="Quality", elem_id="table-issue")
        with gr.Row(elem_classes="di-filter-row"):
            self.sort = gr.Dropdown(
                [(title, name) for name, title in _PLAIN.items()],
                value="rank",
                label="Order",
                elem_id="table-sort",
                allow_custom_value=True,
            )
            self.descending = gr.Checkbox(False, label="Largest first", elem_id="table-descending")
            self.only = gr.Checkbox(False, label="Only the selected", elem_id="table-only")
            self.measure = gr.Button(
                "Measure quality and outliers", size="md", visible=False, elem_id="measures-start",
                scale=0, min_width=240,
            )  # fmt: skip
        self.measure_words = gr.HTML(elem_id="measures-words", elem_classes="di-optional")
        #: ids of the samples that the others are compared with, set by "More like this"
        self.near = gr.Textbox(visible="hidden", elem_id="table-near")
        with gr.Row(elem_classes="di-near"):
            self.near_words = gr.HTML(elem_id="near-words")
            self.leave = gr.Button(
                "Back to the order", size="sm", elem_id="near-leave", scale=0, min_width=150
            )
        self.inputs: list[Any] = [
            self.label, self.group, self.text, self.high, self.state, self.tag, self.issue,
            self.only, self.near, self.sort, self.descending,
        ]  # fmt: skip
        #: what the job of measuring changes
        self.measured = [self.measure_words, self.measure, self.issue, self.sort]
        self.outputs = [self.label, self.group, self.tag, *self.measured]
        quick: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
        self.measure.click(self._begin, None, self.measured, **quick)
        self.near.change(self._near_words, [self.near], [self.near_words], **quick)
        self.leave.click(lambda: "", None, [self.near], **quick)

    @staticmethod
    def view(
        label: str,
        group: str,
        text: str,
        high: str,
        state: str,
        tag: str,
        issue: str,
        only: bool,
        near: str,
        sort: str,
        descending: bool,
        *,
        picked: str = "",
    ) -> View:
        """The filters as a view; ``group`` is a JSON pair of column and value."""
        return View(
            label=None if label == _ALL else label,
            group=None if group == _ALL else _pair(group),
            text=(text or "").strip(),
            high=_HIGH[high],
            state=None if state == _ALL else state.replace(" ", "_"),
            tag=None if tag == _ALL else tag,
            issue=None if issue == _ALL else issue,
            near=tuple((near or "").split()),
            ids=frozenset(picked.split()) if only else None,
            sort=sort,
            descending=bool(descending),
        )

    @staticmethod
    def values(view: View) -> list[Any]:
        """What the controls are to show for a view, in the order of ``inputs``."""
        high = next(name for name, value in _HIGH.items() if value == view.high)
        return [
            view.label or _ALL,
            json.dumps(list(view.group)) if view.group else _ALL,
            view.text,
            high,
            (view.state or _ALL).replace("_", " "),
            view.tag or _ALL,
            view.issue or _ALL,
            False,
            " ".join(view.near),
            view.sort,
            view.descending,
        ]

    @staticmethod
    def order(*given: Any) -> tuple[str, bool]:
        """Column and direction among the values of ``inputs``."""
        return given[-2], bool(given[-1])

    @staticmethod
    def ordered(given: Sequence[Any], sort: str, descending: bool) -> tuple[Any, ...]:
        """The values of ``inputs`` with another order."""
        return (*given[:-2], sort, descending)

    def _offers(self) -> dict[Any, list[tuple[str, str]]]:
        """What each filter offers whose choices are the run's."""
        run = self.session.run
        samples, table = run.explore.samples(), run.explore.measures.table()
        groups = [
            (f"{column}: {value or '(empty)'}", json.dumps([column, value]))
            for column in samples.groups
            if column != "label"
            for value in sorted(samples.groups[column].unique(), key=natural_key)
        ]
        own = {
            self.label: [(name, name) for name in run.training.classes],
            self.group: groups,
            self.tag: [(name, name) for name in run.tags.counts()],
            self.issue: _issues(table),
        }
        return {control: [(_ALL, _ALL), *choices] for control, choices in own.items()}

    def _kept(
        self, offers: dict[Any, list[tuple[str, str]]], given: Sequence[Any]
    ) -> tuple[Any, ...]:
        values = {control: dict(choices).values() for control, choices in offers.items()}
        return tuple(
            _ALL if control in values and value not in values[control] else value
            for control, value in zip(self.inputs, given, strict=True)
        )

    def offered(self, *given: Any) -> tuple[Any, ...]:
        """The values of ``inputs``, with all in place of what is no longer offered."""
        return self._kept(self._offers(), given)

    def _updates(self, given: Sequence[Any]) -> dict[Any, Any]:
        """The choices of the filters; a value only where it changes, as another may be chosen meanwhile."""
        offers, out = self._offers(), {}
        kept = self._kept(offers, given)
        for control, choices in offers.items():
            at = self.inputs.index(control)
            gone = {} if kept[at] == given[at] else {"value": kept[at]}
            out[control] = gr.update(choices=choices, **gone)
        return out

    def choices(self, *given: Any) -> list[Any]:
        """The choices of ``outputs`` as the run has them now; ``given`` are the values of ``inputs``."""
        new, (words, measure, _, sort) = self._updates(given), self.measures()
        return [
            new[self.label],
            new[self.group],
            new[self.tag],
            words,
            measure,
            new[self.issue],
            sort,
        ]

    def measures(self) -> list[Any]:
        """How the measuring goes, and the choices of quality and order, for ``measured``."""
        try:
            explore = self.session.run.explore
            samples, table = explore.samples(), explore.measures.table()
        except DiffInfError as error:
            words = progress(self.session, JOB) or markup.notice(str(error), "error")
            return [words, *skipped(self.measured[1:])]
        titles = _PLAIN | {str(name): ESTIMATORS[str(name)].title for name in samples.scores}
        more = [] if table is None else [str(name) for name in table.table]
        sorts = [(titles.get(name, name), name) for name in (*samples.sorts, *more)]
        return [
            progress(self.session, JOB),
            gr.update(visible=table is None),
            gr.update(choices=[(_ALL, _ALL), *_issues(table)]),
            gr.update(choices=sorts),
        ]

    def _begin(self) -> list[Any]:
        try:
            self.session.jobs.start(JOB, lambda: self.session.run.explore.measures.compute())
        except DiffInfError as error:
            return [markup.notice(str(error), "error"), *skipped(self.measured[1:])]
        return self.measures()

    def _near_words(self, near: str) -> str:
        ids = near.split()
        if not ids:
            return ""
        try:
            samples = self.session.run.explore.samples()
            files = ", ".join(samples.file(i) for i in ids[:3])
        except DiffInfError as error:
            return markup.notice(str(error), "error")
        more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
        return markup.notice(
            f"Those most like {files}{more} come first, by the classifier's features."
        )

    def tags(self, *given: Any) -> Any:
        """The choices of the tag filter; ``given`` are the values of ``inputs``."""
        return self._updates(given)[self.tag]

    def changes(self) -> list[Callable[..., Any]]:
        """What to listen to; a text says so only when its value has changed."""
        texts = (self.text, self.near)
        return [c.change if c in texts else c.input for c in self.inputs]
