"""Compare: retrain every arm from scratch and see whether the repair helped, and whom it harmed."""

from __future__ import annotations

from functools import partial
from html import escape
from pathlib import Path

import gradio as gr

from diffinf_core.records import GROUP_SIZES, DiffInfError
from diffinf_core.runs.scratch import scratch_folder
from diffinf_core.ui import markup
from diffinf_core.ui.compare import markup as compare_markup
from diffinf_core.ui.compare.benchmark import BenchmarkPart
from diffinf_core.ui.compare.pictures import PicturesPart
from diffinf_core.ui.inputs import LenientDropdown
from diffinf_core.ui.session import Session
from diffinf_core.ui.updates import QUIET, Updates

#: starts the download of the file that the step before has put behind a hidden button
_TAKE = """(file) => {
  if (!file || !file.url) return;
  const link = document.createElement("a");
  link.href = file.url; link.download = file.orig_name || ""; link.click();
}"""

_AUDIT = (
    "Training split: what was flagged, edited and decided in each group and class, in per cent with 95 % "
    "intervals"
)


def chosen(arms: tuple[str, ...], arm: str | None, against: str | None) -> tuple[str, str]:
    """The two arms to show: those asked for where they exist, else repaired against noisy."""
    reference = against if against in arms else ("noisy" if "noisy" in arms else arms[0])
    others = [a for a in arms if a != reference]
    wished = [a for a in (arm, "repaired", *others) if a in others]
    return (wished or [reference])[0], str(reference)


class ComparePage:
    """The page; :meth:`load` takes the values of ``inputs`` and updates ``outputs``."""

    def __init__(self, session: Session) -> None:
        self.session = session
        # The system's folder for temporary files is where Gradio may take a file from to serve it.
        self._files = scratch_folder()
        gr.Markdown(
            "## Compare\nRetrains a fresh classifier on each data set and tests it on the test split: as it "
            "was (noisy), without the top tau % (removal), with their repairs (repaired), and as you decided "
            "(reviewed). Where the truth is known, *relabelled* and *clean* are upper bounds that use it. "
            "Which arms, how many seeds and epochs: settings of *retrain* on the Run page."
        )
        self._buttons()
        self.message = gr.HTML(elem_id="compare-message")
        self.reading = gr.HTML(elem_id="compare-reading")
        with gr.Column(visible=False) as self.body:
            with gr.Row():
                self.arm = LenientDropdown([], label="Arm to look at", elem_id="compare-arm")
                self.against = LenientDropdown([], label="Compared with", elem_id="compare-against")
            self.table = gr.HTML(elem_id="arms")
            self._figures()
        self.benchmark = BenchmarkPart(session)
        #: name, state and beginning of the job when the page last looked
        self.seen = gr.State("")
        self.inputs = [self.arm, self.against]
        self.outputs = [
            self.reading, self.body, self.arm, self.against, self.table, self.classes, self.groups,
            *self.pictures.outputs, *self.plots.values(), *self.benchmark.outputs,
        ]  # fmt: skip
        self._wire()

    # ------------------------------------------------------------ layout

    def _buttons(self) -> None:
        with gr.Row(elem_classes="di-buttons"):
            self.start = gr.Button(
                "Retrain and compare", size="md", variant="primary", elem_id="compare-start"
            )
            self.cancel = gr.Button("Cancel", size="md", elem_id="compare-cancel")
            self.refresh = gr.Button("Refresh", size="md", elem_id="compare-refresh")
            self.html = gr.Button("Download page (HTML)", size="md", elem_id="compare-html")
            self.csv = gr.Button("Download table (CSV)", size="md", elem_id="compare-csv")
            self.file = gr.DownloadButton("File", visible="hidden", elem_id="compare-file")

    def _figures(self) -> None:
        self.plots: dict[str, gr.Plot] = {}
        with gr.Tabs(elem_id="compare-parts"):
            with gr.Tab("Differences"):
                self._plot("gains")
                self._plot("agreement")
            with gr.Tab("Confusion"):
                self._plot("confusions")
            with gr.Tab("Calibration"):
                self._plot("reliability")
            with gr.Tab("Classes"):
                self._plot("classes")
                self.classes = gr.HTML()
            with gr.Tab("Subgroups"):
                self._plot("subgroups")
                self.groups = gr.HTML(elem_id="compare-groups")
            with gr.Tab("Training"):
                self._plot("courses")
            with gr.Tab("Pictures", elem_id="compare-pictures"):
                self.pictures = PicturesPart(self.session)

    def _plot(self, name: str) -> None:
        self.plots[name] = gr.Plot(show_label=False, elem_id=f"plot-{name}")

    # ------------------------------------------------------------ results

    def load(self, arm: str | None = None, against: str | None = None) -> Updates:
        """The comparison of two arms, or a sentence where there is none yet, and the last benchmark."""
        return self._comparison(arm, against) | self.benchmark.load()

    def _comparison(self, arm: str | None, against: str | None) -> Updates:
        try:
            compare = self.session.run.compare
            arms = compare.comparison().arms
            shown, base = chosen(arms, arm, against)
            plots, pictures = compare.plots(shown, base), self.pictures.reset(shown, base)
            tables = self._tables(base)
        except DiffInfError as error:
            return {
                self.reading: markup.notice(str(error), "empty"),
                self.body: gr.update(visible=False),
            }
        return {
            self.body: gr.update(visible=True),
            self.arm: gr.update(choices=list(arms), value=shown),
            self.against: gr.update(choices=list(arms), value=base),
            **tables,
            **pictures,
            **{
                plot: gr.update(value=plots.get(name), visible=name in plots)
                for name, plot in self.plots.items()
            },
        }

    def _tables(self, base: str) -> Updates:
        words = self.session.run.compare.in_words(base)
        caption = (
            "Test split, mean ± deviation over seeds; below that the difference to "
            f"{base} with its 95 % interval, and a word where that excludes 0"
        )
        by_class = f"Recall and precision in per cent, against {base}"
        groups = compare_markup.table(
            words["subgroups"], f"Accuracy in per cent, against {base}"
        ) or markup.notice(
            f"No column of this data set has {GROUP_SIZES[0]} to {GROUP_SIZES[-1]} values.", "empty"
        )
        return {
            self.reading: compare_markup.sentences(
                words["reading"], [*words["warnings"], *words["disparities"]]
            ),
            self.table: compare_markup.table(words["arms"], caption)
            + f'<p class="di-small">{escape(words["coverage"])}</p>',
            self.classes: compare_markup.table(words["classes"], by_class),
            self.groups: groups
            + compare_markup.table(
                words["fairness"], "Worst group and equal opportunity of each arm"
            )
            + compare_markup.table(words["audit"], _AUDIT),
        }

    def _write(self, kind: str, against: str | None) -> Updates:
        try:
            compare = self.session.run.compare
            comparison = compare.comparison()
            base = chosen(comparison.arms, None, against)[1]
            file = Path(self._files.name) / f"comparison-{comparison.key}-{base}.{kind}"
            compare.write(**{kind: file}, against=base)
        except (DiffInfError, OSError) as error:
            return {self.file: None, self.message: markup.notice(str(error), "error")}
        return {self.file: str(file), self.message: self._progress()}

    # ------------------------------------------------------------ the training

    def _progress(self) -> str:
        snapshot = self.session.jobs.snapshot()
        event = snapshot.stages.get("retrain")
        if snapshot.name != "retrain":
            return ""
        if snapshot.state == "failed":
            return markup.notice(snapshot.error, "error")
        if snapshot.stopping:
            return markup.notice("Stopping; finished trainings are kept.")
        if event is None:
            return markup.notice("Starting.")
        text = f"{event.done} of {event.total} trainings. {event.note}"
        if snapshot.state == "running" and "retrain" in snapshot.left:
            text += f", {markup.duration(snapshot.left['retrain'])} left"
        return markup.notice(f"{snapshot.state}: {text}")

    def _begin(self) -> str:
        try:
            self.session.jobs.start("retrain", self.session.run.retrain)
        except DiffInfError as error:
            return markup.notice(str(error), "error")
        return self._progress()

    def _stop(self) -> str:
        snapshot = self.session.jobs.snapshot()
        if snapshot.name != "retrain" or snapshot.state != "running":
            return markup.notice("No training is running.")
        self.session.jobs.cancel()
        return self._progress()

    def _tick(self, before: str, arm: str | None, against: str | None) -> Updates:
        snapshot = self.session.jobs.snapshot()
        # With its beginning, because the same end may come twice.
        now = f"{snapshot.name}:{snapshot.state}:{snapshot.began}"
        updates: Updates = {self.seen: now}
        # An answer to a click stays until the training has something new to say; what a server said
        # that has since restarted, nothing being seen, does not.
        own, new = snapshot.name == "retrain", now != before
        if (own and snapshot.state == "running") or (new and (before or not own)):
            updates[self.message] = self._progress()
        # The training may have ended, and another job begun, since the page looked.
        if new and ((own and snapshot.state == "done") or before.startswith("retrain:running")):
            updates |= self._comparison(arm, against)
        return updates

    # ------------------------------------------------------------ events

    def _wire(self) -> None:
        self.start.click(self._begin, outputs=[self.message], queue=False)
        self.cancel.click(self._stop, outputs=[self.message], queue=False)
        for trigger in (self.refresh.click, self.arm.input, self.against.input):
            trigger(self.load, self.inputs, self.outputs, queue=False)
        self.pictures.wire(self.arm, self.against)
        self.benchmark.wire(_TAKE)
        for button, kind in ((self.html, "html"), (self.csv, "csv")):
            button.click(
                partial(self._write, kind), [self.against], [self.file, self.message]
            ).then(None, [self.file], js=_TAKE)
        gr.Timer(1.5).tick(
            self._tick,
            [self.seen, *self.inputs],
            [self.seen, self.message, *self.outputs],
            **QUIET,
        )
