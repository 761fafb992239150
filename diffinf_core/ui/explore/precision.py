"""How precise the ranking is: what planted errors and reviewers show, and the training that plants them."""

from __future__ import annotations

from typing import Any

import gradio as gr

from diffinf_core.engine import ESTIMATORS
from diffinf_core.records import DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.explore.parts import progress, skipped
from diffinf_core.ui.session import Session

#: the name of the job
JOB = "planted"


def _estimate(e: dict[str, float]) -> str:
    return f"{100 * e['value']:.0f} ({100 * e['low']:.0f} to {100 * e['high']:.0f})"


def scores_table(planted: dict[str, Any]) -> str:
    """A row per score, the best first: average precision, and precision at each tau, in per cent."""
    rows = sorted(
        planted["scores"].items(), key=lambda item: -item[1]["average_precision"]["value"]
    )
    taus = [f"top {tau} %" for tau in rows[0][1]["precision"]]
    body = []
    for name, row in rows:
        title = ESTIMATORS[name].title if name in ESTIMATORS else name.replace("_", " ")
        cells = [row["average_precision"], *row["precision"].values()]
        body.append([title, *map(_estimate, cells)])
    return markup.table(["precision by planted errors, %", "average", *taus], body)


class PrecisionPart:
    """Sentences, a curve and a table, and a button where no errors are planted yet."""

    def __init__(self, session: Session) -> None:
        self.session = session
        gr.Markdown("### How precise the ranking is")
        self.words = gr.HTML(elem_id="precision-words")
        self.plant = gr.Button(
            "Plant errors and train once more", size="md", elem_id="precision-plant", visible=False
        )
        self.curve = gr.Plot(show_label=False, elem_id="plot-precision", visible=False)
        self.scores = gr.HTML(elem_id="precision-scores", visible=False)
        self.outputs = [self.words, self.plant, self.curve, self.scores]
        self.plant.click(self._begin, None, self.outputs, queue=False, show_progress="hidden")

    def load(self) -> list[Any]:
        """What is known now, and what is missing."""
        try:
            scores = self.session.run.explore.scores
            found, curve = scores.precision(), scores.precision_plot()
        except DiffInfError as error:
            return [markup.notice(str(error), "empty"), *skipped(self.outputs[1:])]
        said = [progress(self.session, JOB), *map(markup.notice, found["in_words"])]
        if not any(said):
            said = [
                markup.notice(
                    "Nobody knows yet which labels are wrong here. Planting errors makes a few labels "
                    "wrong on purpose in a copy, trains the classifier once more and looks where the "
                    "scores rank them. Decisions on pairs of the queue give a second estimate.",
                    "empty",
                )
            ]
        planted = found["planted"]
        return [
            "".join(said),
            gr.update(visible=planted is None),
            gr.update(value=curve, visible=curve is not None),
            gr.update(value=scores_table(planted) if planted else "", visible=bool(planted)),
        ]

    def _begin(self) -> list[Any]:
        try:
            self.session.jobs.start(JOB, self.session.run.plant)
        except DiffInfError as error:
            return [markup.notice(str(error), "error"), *skipped(self.outputs[1:])]
        return self.load()
