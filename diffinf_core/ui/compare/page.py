"""Compare: retrain every arm from scratch and see whether the repair helped, and whom it harmed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from diffinf_core.records import DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.compare import markup as compare_markup
from diffinf_core.ui.session import Session

_PAGE = 24
_ALWAYS, _MOSTLY = "in every seed", "in most seeds"
#: starts the download of the file that the step before has put behind a hidden button
_TAKE = """(file) => {
  if (!file || !file.url) return;
  const link = document.createElement("a");
  link.href = file.url; link.download = file.orig_name || ""; link.click();
}"""


def chosen(arms: tuple[str, ...], arm: str | None, against: str | None) -> tuple[str, str]:
    """The two arms to show: those asked for where they exist, else repaired against noisy."""
    reference = against if against in arms else ("noisy" if "noisy" in arms else arms[0])
    others = [a for a in arms if a != reference]
    wished = [a for a in (arm, "repaired", *others) if a in others]
    return (wished or [reference])[0], str(reference)


def build(session: Session) -> Callable[..., list[Any]]:
    """Build the page inside the current tab; returns what to refresh on load."""
    gr.Markdown(
        "## Compare\nRetrains a fresh classifier on each data set and tests it on the test split: as it "
        "was (noisy), without the top tau % (removal), with their repairs (repaired), and as you decided "
        "(reviewed). Where the truth is known, *relabelled* and *clean* are upper bounds that use it. Which "
        "arms, how many seeds and epochs: settings of *retrain* on the Run page."
    )
    with gr.Row(elem_classes="di-buttons"):
        start = gr.Button(
            "Retrain and compare", size="md", variant="primary", elem_id="compare-start"
        )
        cancel = gr.Button("Cancel", size="md", elem_id="compare-cancel")
        refresh = gr.Button("Refresh", size="md", elem_id="compare-refresh")
        page_file = gr.Button("Download page (HTML)", size="md", elem_id="compare-html")
        table_file = gr.Button("Download table (CSV)", size="md", elem_id="compare-csv")
        behind = gr.DownloadButton("File", visible="hidden", elem_id="compare-file")
    message = gr.HTML(elem_id="compare-message")
    text = gr.HTML(elem_id="compare-reading")
    with gr.Column(visible=False) as body:
        with gr.Row():
            arm = gr.Dropdown([], label="Arm to look at", elem_id="compare-arm")
            against = gr.Dropdown([], label="Compared with", elem_id="compare-against")
        table = gr.HTML(elem_id="arms")
        panels: dict[str, gr.Plot] = {}

        def panel(name: str) -> None:
            panels[name] = gr.Plot(show_label=False, elem_id=f"plot-{name}")

        with gr.Tabs(elem_id="compare-parts"):
            with gr.Tab("Differences"):
                panel("gains")
                panel("agreement")
            with gr.Tab("Confusion"):
                panel("confusions")
            with gr.Tab("Calibration"):
                panel("reliability")
            with gr.Tab("Classes"):
                panel("classes")
                classes = gr.HTML()
            with gr.Tab("Subgroups"):
                panel("subgroups")
                groups = gr.HTML(elem_id="compare-groups")
            with gr.Tab("Training"):
                panel("courses")
            with gr.Tab("Pictures", elem_id="compare-pictures"):
                with gr.Row():
                    direction = gr.Radio([], label="Test pictures", elem_id="compare-direction")
                    steady = gr.Radio([_ALWAYS, _MOSTLY], value=_ALWAYS, label="Right and wrong")
                found = gr.HTML(elem_id="compare-found")
                with gr.Row(elem_classes="di-buttons"):
                    earlier = gr.Button("Earlier", size="sm", elem_id="compare-earlier")
                    later = gr.Button("Later", size="sm", elem_id="compare-later")
                place = gr.State(0)

    def look() -> str:
        snapshot = session.jobs.snapshot()
        event = snapshot.stages.get("retrain")
        if snapshot.name != "retrain":
            return ""
        if snapshot.state == "failed":
            return markup.notice(snapshot.error, "error")
        if event is None:
            return markup.notice("Starting.")
        text = f"{event.done} of {event.total} trainings. {event.note}"
        if snapshot.state == "running" and "retrain" in snapshot.left:
            text += f", {markup.duration(snapshot.left['retrain'])} left"
        return markup.notice(f"{snapshot.state}: {text}")

    def results(arm_: str | None = None, against_: str | None = None) -> list[Any]:
        try:
            run = session.run
            arms = run.compare.comparison().arms
            shown, base = chosen(arms, arm_, against_)
            words = run.compare.in_words(base)
            figures = run.compare.plots(shown, base)
            ways = [
                (f"{shown} right, {base} wrong", "gained"),
                (f"{base} right, {shown} wrong", "lost"),
            ]
            pictures = listed(shown, base, "gained", _ALWAYS, 0)
        except DiffInfError as error:
            kept = [gr.skip()] * (len(outputs) - 2)
            return [markup.notice(str(error), "empty"), gr.update(visible=False), *kept]
        note = f'<p class="di-small">{escape(words["coverage"])}</p>'
        caption = (
            "Test split, mean ± deviation over seeds; below that the difference to "
            f"{base} with its 95 % interval, and a word where that excludes 0"
        )
        return [
            compare_markup.sentences(words["reading"], words["warnings"]),
            gr.update(visible=True),
            gr.update(choices=list(arms), value=shown),
            gr.update(choices=list(arms), value=base),
            compare_markup.table(words["arms"], caption) + note,
            compare_markup.table(
                words["classes"], f"Recall and precision in per cent, against {base}"
            ),
            compare_markup.table(words["subgroups"], f"Accuracy in per cent, against {base}")
            or markup.notice("No column of this data set has 2 to 20 values.", "empty"),
            gr.update(choices=ways, value="gained"),
            _ALWAYS,
            *pictures,
            *(gr.update(value=figures.get(n), visible=n in figures) for n in panels),
        ]

    def listed(arm_: str, against_: str, way: str, how: str, at: int) -> list[Any]:
        run = session.run
        every = how == _ALWAYS
        pair = (arm_, against_) if way == "gained" else (against_, arm_)
        rows, other = (
            run.compare.changed(*pair, every),
            run.compare.changed(pair[1], pair[0], every),
        )
        at = min(max(at, 0), max(0, (len(rows) - 1) // _PAGE))
        part = rows.iloc[at * _PAGE : (at + 1) * _PAGE]
        pages = f" Page {at + 1} of {-(-len(rows) // _PAGE)}." if len(rows) > _PAGE else ""
        said = (
            f"{len(rows)} test pictures that {pair[0]} gets right and {pair[1]} wrong {how}, "
            f"{len(other)} the other way round.{pages} To look at only: nothing here can be edited, "
            "and settings chosen by it make the test split part of the training."
        )
        pictures = run.compare.test_pictures([str(i) for i in part["id"]])
        seeds = run.compare.comparison().measured.seeds
        shown = markup.notice(said) + compare_markup.cards(part, pictures, *pair, seeds)
        more = (at + 1) * _PAGE < len(rows)
        return [at, shown, gr.update(interactive=at > 0), gr.update(interactive=more)]

    def turn(by: int | None, arm_: str, against_: str, way: str, how: str, at: int) -> list[Any]:
        try:
            return listed(arm_, against_, way, how, 0 if by is None else at + by)
        except DiffInfError as error:
            return [0, markup.notice(str(error), "error"), gr.skip(), gr.skip()]

    def begin() -> str:
        try:
            session.jobs.start("retrain", session.run.retrain)
        except DiffInfError as error:
            return markup.notice(str(error), "error")
        return look()

    def stop() -> str:
        snapshot = session.jobs.snapshot()
        if snapshot.name != "retrain" or snapshot.state != "running":
            return markup.notice("No training is running.")
        session.jobs.cancel()
        return markup.notice("Stopping; finished trainings are kept.")

    # The system's folder for temporary files is where Gradio may take a file from to serve it.
    files = tempfile.TemporaryDirectory(prefix="diffinf-compare-")

    def write(kind: str, against_: str | None) -> list[Any]:
        try:
            run = session.run
            base = chosen(run.compare.comparison().arms, None, against_)[1]
            file = Path(files.name) / f"comparison-{run.compare.comparison().key}-{base}.{kind}"
            run.compare.write(**{kind: file}, against=base)
        except (DiffInfError, OSError) as error:
            return [None, markup.notice(str(error), "error")]
        return [str(file), look()]

    listing = [place, found, earlier, later]
    outputs = [text, body, arm, against, table, classes, groups, direction, steady, *listing]
    outputs += panels.values()
    start.click(begin, outputs=[message], queue=False)
    cancel.click(stop, outputs=[message], queue=False)
    for trigger in (refresh.click, arm.input, against.input):
        trigger(results, [arm, against], outputs, queue=False)
    asked = [arm, against, direction, steady, place]
    for trigger, by in (
        (direction.input, None),
        (steady.input, None),
        (earlier.click, -1),
        (later.click, 1),
    ):
        trigger(partial(turn, by), asked, listing, queue=False)
    for button, kind in ((page_file, "html"), (table_file, "csv")):
        button.click(lambda base, kind=kind: write(kind, base), [against], [behind, message]).then(
            None, [behind], js=_TAKE
        )

    seen = gr.State("")

    def tick(before: str, arm_: str | None, against_: str | None) -> list[Any]:
        snapshot = session.jobs.snapshot()
        now = f"{snapshot.name}:{snapshot.state}"
        finished = now != before and now == "retrain:done"
        after = results(arm_, against_) if finished else [gr.skip()] * len(outputs)
        # An answer to a click stays until the training has something new to say.
        told = look() if now == "retrain:running" or (now != before and before) else gr.skip()
        return [told, now, *after]

    gr.Timer(1.5).tick(
        tick, [seen, arm, against], [message, seen, *outputs], queue=False, show_progress="hidden"
    )
    results.inputs = [arm, against]  # type: ignore[attr-defined]
    results.outputs = outputs  # type: ignore[attr-defined]
    return results
