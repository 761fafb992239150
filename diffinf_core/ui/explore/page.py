"""Explore: the whole training split at once, and a way from anything seen there to the review."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import gradio as gr

from diffinf_core.records import DiffInfError
from diffinf_core.ui.explore.filters import JOB as MEASURES
from diffinf_core.ui.explore.groups import GroupsPart
from diffinf_core.ui.explore.pairs import PairsPart
from diffinf_core.ui.explore.parts import WITH_PICKED, skipped
from diffinf_core.ui.explore.precision import JOB as PLANTED
from diffinf_core.ui.explore.samples import SamplesPart
from diffinf_core.ui.explore.scores import ScoresPart
from diffinf_core.ui.explore.selection import Selection
from diffinf_core.ui.session import Session

_PARTS = ("samples", "scores", "groups", "pairs")


def _read_ahead(session: Session) -> None:
    # Half a second of reading, done before anybody asks; who asks earlier reads it themselves.
    with contextlib.suppress(DiffInfError):
        session.run.explore.samples()


def build(session: Session, page: gr.Tab) -> None:
    """Build the page inside its tab.

    It is filled when the tab is opened and not with the other pages, because it reads the whole
    training split.
    """
    threading.Thread(target=_read_ahead, args=(session,), daemon=True).start()
    gr.Markdown(
        "## Explore\nEvery training picture has a score for how much its label disturbs training; "
        "the top tau % are repaired and reviewed. Select pictures anywhere here and hand them to the "
        "review."
    )
    bar = Selection(session)
    picked, handed, acts = bar.picked, bar.handed, bar.acts
    inner = gr.Textbox("samples", visible="hidden", elem_id="explore-inner")
    with gr.Tabs(elem_id="explore-parts"):
        with gr.Tab("Samples", id="samples") as samples_tab:
            samples = SamplesPart(session, picked, handed, acts.listed)
        with gr.Tab("Scores", id="scores") as scores_tab:
            scores = ScoresPart(session, handed)
        with gr.Tab("Groups", id="groups") as groups_tab:
            groups = GroupsPart(session)
        with gr.Tab("Near-duplicates", id="pairs") as pairs_tab:
            pairs = PairsPart(session)

    parts: tuple[Any, ...] = (samples, scores, groups, pairs)
    given: dict[str, list[Any]] = {
        "samples": [samples.map.method, *samples.given],
        "scores": [scores.first, scores.second, scores.pager.page],
        "groups": [],
        "pairs": pairs.given,
    }
    tabs = (samples_tab, scores_tab, groups_tab, pairs_tab)
    for name, part, tab in zip(_PARTS, parts, tabs, strict=True):

        def opened(*values: Any, name: str = name, part: Any = part) -> list[Any]:
            return [name, *part.load(*values)]

        js = WITH_PICKED if picked in given[name] else None
        tab.select(opened, given[name], [inner, *part.outputs], queue=False, js=js)

    def now() -> str:
        snapshot = session.jobs.snapshot()
        # With its beginning, because the same end may come twice.
        return f"{snapshot.name}:{snapshot.state}:{snapshot.began}"

    def load(open_: str, *values: Any) -> list[Any]:
        out: list[Any] = [now(), *acts.choices()]
        rest = list(values)
        for name, part in zip(_PARTS, parts, strict=True):
            own, rest = rest[: len(given[name])], rest[len(given[name]) :]
            out += part.load(*own) if name == open_ else skipped(part.outputs)
        return out

    acts.near(samples.filters.near)
    for event in acts.events:
        samples.refresh(event)

    seen = gr.State("")
    watched = {
        "map": samples.map.outputs,
        "duplicates": pairs.outputs,
        MEASURES: samples.filters.measured,
        PLANTED: scores.precision.outputs,
    }
    words = [
        samples.map.words, pairs.words, samples.filters.measure_words, scores.precision.words,
    ]  # fmt: skip

    def tick(before: str, method: str, differing: bool) -> list[Any]:
        at = now()
        name_now, state, _ = at.split(":")
        # Since the page looked, one job may have ended and another begun.
        due = {name_now, before.partition(":")[0]} if at != before or state == "running" else set()
        # A page that has seen nothing may be older than the server, its words from a job that is gone.
        stale = words if at != before and not before and not name_now else []
        anew = {
            "map": lambda: samples.map.shown(method),
            "duplicates": lambda: pairs.load(differing, 1),
            MEASURES: samples.filters.measures,
            PLANTED: scores.precision.load,
        }
        out: list[Any] = [at]
        for name, outputs in watched.items():
            left = ["" if output in stale else gr.skip() for output in outputs]
            out += anew[name]() if name in due else left
        return out

    gr.Timer(1.5).tick(
        tick,
        [seen, samples.map.method, pairs.differing],
        [seen, *(part for outputs in watched.values() for part in outputs)],
        queue=False,
        show_progress="hidden",
    )
    asked = [inner, *(control for name in _PARTS for control in given[name])]
    at = asked.index(picked)
    page.select(
        load,
        asked,
        [seen, *acts.outputs, *(component for part in parts for component in part.outputs)],
        queue=False,
        js=f"(...given) => given.with({at}, window.diExplore.wanted())",
    )
