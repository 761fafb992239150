"""The Benchmark view: the rivals of Table 1 trained on the run, and the tables of the last benchmark."""

from __future__ import annotations

import shutil
from functools import partial
from typing import Literal

import gradio as gr
import pandas as pd

from diffinf_core.engine import BenchmarkSettings, method_choices
from diffinf_core.records import DiffInfError
from diffinf_core.runs.scratch import scratch_folder
from diffinf_core.ui import markup
from diffinf_core.ui.compare import markup as compare_markup
from diffinf_core.ui.session import Session
from diffinf_core.ui.updates import QUIET, Updates

_JOB = "benchmark"
_KINDS = {
    "html": "page",
    "md": "Markdown",
    "tex": "LaTeX",
    "csv": "table",
    "groups": "groups",
    "samples": "samples",
    "json": "JSON",
}


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in (text or "").split(",") if part.strip())
    except ValueError:
        raise DiffInfError(
            f"Cannot read {text!r}; write numbers with commas between, e.g. 5,10,20."
        ) from None


class BenchmarkPart:
    """The view; :meth:`load` updates ``outputs``."""

    def __init__(self, session: Session) -> None:
        self.session = session
        # The system's folder for temporary files is where Gradio may take a file from to serve it.
        self._files = scratch_folder()
        with gr.Accordion("Benchmark: the rivals of Table 1", open=False, elem_id="benchmark"):
            gr.Markdown(
                "Trains published methods and controls on this run's noisy labels, each with the same split, "
                "network, epochs and seeds. Rows that use the truth are upper bounds."
            )
            self.methods = gr.CheckboxGroup(
                method_choices(),
                value=["noisy", "removal", "repair"],
                label="Methods and controls",
                elem_id="benchmark-methods",
            )
            self.more = gr.Textbox(
                "",
                label="More rows, with hyperparameters",
                placeholder="proselflc:theta=0.3, small_loss:per_class=true",
                elem_id="benchmark-more",
            )
            with gr.Row():
                self.seeds = gr.Number(3, label="Seeds", precision=0, minimum=1)
                self.taus = gr.Textbox(
                    "", label="tau, per cent", placeholder="the run's; or 5,10,20"
                )
                self.noises = gr.Textbox(
                    "",
                    label="Noise to inject",
                    placeholder="the run's; or 0.1,0.2,0.4",
                    elem_id="benchmark-noise",
                )
                self.rate = gr.Textbox(
                    "",
                    label="Noise rate that methods assume",
                    placeholder="that of the run; or 0.2",
                    elem_id="benchmark-rate",
                )
            with gr.Row():
                self.augment = gr.Radio(
                    [("as the classifier", "run"), ("yes", "yes"), ("no", "no")],
                    value="run",
                    label="Augment: flips and shifts",
                )
                self.preset = gr.Radio(
                    [("the run's", "matched"), ("their authors'", "source")],
                    value="matched",
                    label="Recipes and constants",
                )
                self.schedule = gr.Radio(
                    [
                        ("cosine, as retrained arms", "cosine"),
                        ("constant, as the paper", "constant"),
                    ],
                    value="cosine",
                    label="Learning rate",
                )
            self._buttons()
            self.message = gr.HTML(elem_id="benchmark-message")
            self.tables = gr.HTML(elem_id="benchmark-tables")
            self.plots = [gr.Plot(show_label=False, visible=False) for _ in range(2)]
        self.seen = gr.State("")
        self.outputs = [self.tables, *self.plots]
        self._settings = [
            self.methods, self.more, self.seeds, self.taus, self.noises, self.rate, self.augment,
            self.preset, self.schedule,
        ]  # fmt: skip

    def _buttons(self) -> None:
        with gr.Row(elem_classes="di-buttons"):
            self.start = gr.Button("Train and compare", size="md", elem_id="benchmark-start")
            self.cancel = gr.Button("Cancel", size="md", elem_id="benchmark-cancel")
            self.files = {
                kind: gr.Button(f"Download {name}", size="md", elem_id=f"benchmark-{kind}")
                for kind, name in _KINDS.items()
            }
            self.file = gr.DownloadButton("File", visible="hidden", elem_id="benchmark-file")

    def load(self) -> Updates:
        """The tables of the last benchmark, or a sentence where there is none."""
        try:
            benchmark = self.session.run.benchmark
            shown = [markup.notice(benchmark.summary())]
            for title, lines, left in benchmark.in_words():
                if lines:
                    table = pd.DataFrame(lines[1:], columns=lines[0])
                    shown.append(compare_markup.table(table, title))
                if left:
                    shown.append(markup.notice(left))
            plots = benchmark.plots()
        except DiffInfError as error:
            return {
                self.tables: markup.notice(str(error), "empty"),
                **{plot: gr.update(visible=False) for plot in self.plots},
            }
        # the accuracies of the first table, and what was swept last
        chosen = plots[:1] + plots[1:][-1:]
        return {
            self.tables: "".join(shown),
            **{
                plot: gr.update(value=figure, visible=figure is not None)
                for plot, figure in zip(self.plots, [*chosen, None, None], strict=False)
            },
        }

    # ------------------------------------------------------------ the training

    def _progress(self) -> str:
        snapshot = self.session.jobs.snapshot()
        if snapshot.name != _JOB:
            return ""
        if snapshot.state == "failed":
            return markup.notice(snapshot.error, "error")
        if snapshot.stopping:
            return markup.notice("Stopping; finished trainings are kept.")
        event = snapshot.stages.get(_JOB) or next(reversed(snapshot.stages.values()), None)
        if event is None:
            return markup.notice("Starting.")
        text = f"{event.stage}: {event.done} of {event.total}. {event.note}"
        if snapshot.state == "running" and event.stage in snapshot.left:
            text += f", {markup.duration(snapshot.left[event.stage])} left"
        return markup.notice(f"{snapshot.state}: {text}")

    def _begin(
        self,
        methods: list[str],
        more: str,
        seeds: float,
        taus: str,
        noises: str,
        rate: str,
        augment: str,
        preset: Literal["matched", "source"],
        schedule: Literal["cosine", "constant"],
    ) -> str:
        try:
            rows = [*methods, *filter(None, (row.strip() for row in (more or "").split(",")))]
            if not rows:
                raise DiffInfError("Choose at least one method.")
            rates = _numbers(rate)
            if len(rates) > 1:
                raise DiffInfError(f"Give one noise rate, not {rate!r}.")
            settings = BenchmarkSettings(
                methods=tuple(rows),
                seeds=int(seeds or 0),
                taus=_numbers(taus),
                noises=_numbers(noises),
                noise_rate=rates[0] if rates else None,
                augment={"yes": True, "no": False}.get(augment),
                preset=preset,
                schedule=schedule,
            )
            job = self.session.run.benchmark.run(settings)
            self.session.jobs.start(_JOB, lambda: job)
        except DiffInfError as error:
            return markup.notice(str(error), "error")
        return self._progress()

    def _stop(self) -> str:
        snapshot = self.session.jobs.snapshot()
        if snapshot.name != _JOB or snapshot.state != "running":
            return markup.notice("No benchmark is running.")
        self.session.jobs.cancel()
        return self._progress()

    def _tick(self, before: str) -> Updates:
        snapshot = self.session.jobs.snapshot()
        own, event = snapshot.name == _JOB, snapshot.stages.get(_JOB)
        done = event.done if event and own else 0
        # With its beginning, because the same end may come twice.
        now = f"{snapshot.name}:{snapshot.state}:{snapshot.began}:{done}"
        new = now != before
        updates: Updates = {self.seen: now}
        # A page that has seen nothing may be older than the server, its message from a job that is gone.
        if (own and snapshot.state == "running") or (new and (before or not own)):
            updates[self.message] = self._progress()
        # The tables grow with each training; another job may have begun after the last one.
        if new and ((own and before) or before.startswith(f"{_JOB}:running")):
            updates |= self.load()
        return updates

    def _take(self, kind: str) -> Updates:
        try:
            file = self.session.run.benchmark.file(kind)
            return {self.file: shutil.copy(file, self._files.name)}
        except (DiffInfError, OSError) as error:
            return {self.file: None, self.message: markup.notice(str(error), "error")}

    def wire(self, download: str) -> None:
        """Connect the buttons; ``download`` is the script that starts the download of a file."""
        self.start.click(self._begin, self._settings, [self.message], queue=False)
        self.cancel.click(self._stop, outputs=[self.message], queue=False)
        for kind, button in self.files.items():
            button.click(partial(self._take, kind), None, [self.file, self.message]).then(
                None, [self.file], js=download
            )
        gr.Timer(1.5).tick(
            self._tick, [self.seen], [self.seen, self.message, *self.outputs], **QUIET
        )
