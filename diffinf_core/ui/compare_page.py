"""Compare: retrain every arm from scratch and see whether the repair helped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
import pandas as pd

from diffinf_core.records import DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.session import Session

_COLUMNS = ("accuracy", "balanced_accuracy", "auroc", "kappa_linear", "kappa", "ece")
_PLOTS = ("accuracy", "auroc", "agreement", "ece")


def arms_table(arms: dict[str, Any]) -> pd.DataFrame:
    """Mean and standard deviation per arm, as text."""
    rows = []
    for arm, figures in arms.items():
        row = {"arm": arm, "seeds": figures["seeds"], "pictures": figures["n_train"]}
        for key in _COLUMNS:
            sd = figures[f"{key}_sd"]
            row[key] = f"{figures[key]:.3f}" + (f" ± {sd:.3f}" if sd is not None else "")
        rows.append(row)
    return pd.DataFrame(rows, columns=["arm", "seeds", "pictures", *_COLUMNS])


def reading(report: dict[str, Any]) -> str:
    """What the figures say, in sentences; nothing is claimed that they do not show."""
    arms, repair = report["arms"], report["repair"]
    said = []
    if repair:
        wrong = repair["judge_agreement_mislabelled"]
        said.append(
            f"The independent judge sees the assigned label in {repair['judge_agreement_after']:.0%} "
            f"of {repair['n']} edits; in the originals it was {repair['judge_agreement_before']:.0%}."
        )
        if wrong is not None:
            said.append(f"Among the edits of wrongly labelled pictures it is {wrong:.0%}.")
        fooled = repair["flagged"].get("adversarial", 0)
        if fooled:
            said.append(f"{fooled} edits satisfy the guide but not the judge: look at them first.")
    for name in ("repaired", "reviewed"):
        if name in arms and "noisy" in arms and "removal" in arms:
            gain = 100 * (arms[name]["accuracy"] - arms["noisy"]["accuracy"])
            over_removal = 100 * (arms[name]["accuracy"] - arms["removal"]["accuracy"])
            spread = 100 * max(arms[a]["accuracy_sd"] or 0 for a in (name, "noisy", "removal"))
            said.append(
                f"{name.capitalize()} against noisy: {gain:+.1f} points of accuracy; against "
                f"removal: {over_removal:+.1f} (spread over seeds up to {spread:.1f})."
            )
    if arms:
        said.append(
            "Accuracy alone does not prove a repair: edits that only fool the guide "
            "retrain as well."
        )
    return " ".join(said)


def build(session: Session) -> Callable[[], list[Any]]:
    """Build the page inside the current tab; returns what to refresh on load."""
    gr.Markdown(
        "### Compare\nRetrains a fresh classifier on each data set and tests it on the clean test "
        "split: as it was (noisy), without the top tau % (removal), with their repairs (repaired), and as "
        "you decided (reviewed)."
    )
    with gr.Row():
        start = gr.Button(
            "Retrain and compare", size="md", variant="primary", elem_id="compare-start"
        )
        cancel = gr.Button("Cancel", size="md", elem_id="compare-cancel")
        refresh = gr.Button("Refresh", size="md", elem_id="compare-refresh")
    message = gr.HTML(elem_id="compare-message")
    text = gr.HTML(elem_id="compare-reading")
    table = gr.Dataframe(
        interactive=False,
        label="Clean test split, mean ± deviation over seeds",
        elem_id="arms",
        visible=False,
    )
    panels: list[gr.Plot] = []
    for i in range(0, len(_PLOTS), 2):
        with gr.Row():
            panels += [
                gr.Plot(show_label=False, elem_id=f"plot-{name}") for name in _PLOTS[i : i + 2]
            ]

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
        return markup.notice(f"{snapshot.state}: {text}")

    def results() -> list[Any]:
        try:
            report, figures = session.engine.report(), session.engine.plots()
        except DiffInfError as error:
            none = [gr.update(value=None, visible=False)] * len(panels)
            return [markup.notice(str(error), "empty"), gr.update(visible=False), *none]
        shown = [gr.update(value=figures.get(n), visible=n in figures) for n in _PLOTS]
        words = reading(report) or "Nothing to compare yet: start the run, then retrain."
        arms = report["arms"]
        return [
            markup.notice(words),
            gr.update(value=arms_table(arms), visible=bool(arms)),
            *shown,
        ]

    def begin() -> str:
        try:
            session.jobs.start("retrain", session.engine.retrain)
        except DiffInfError as error:
            return markup.notice(str(error), "error")
        return look()

    def stop() -> str:
        snapshot = session.jobs.snapshot()
        if snapshot.name != "retrain" or snapshot.state != "running":
            return markup.notice("No training is running.")
        session.jobs.cancel()
        return markup.notice("Stopping; finished trainings are kept.")

    outputs = [text, table, *panels]
    start.click(begin, outputs=[message], queue=False)
    cancel.click(stop, outputs=[message], queue=False)
    refresh.click(results, outputs=outputs, queue=False)

    seen = gr.State("")

    def tick(before: str) -> list[Any]:
        snapshot = session.jobs.snapshot()
        now = f"{snapshot.name}:{snapshot.state}"
        finished = now != before and now == "retrain:done"
        return [look(), now, *(results() if finished else [gr.skip()] * len(outputs))]

    gr.Timer(1.5).tick(tick, [seen], [message, seen, *outputs], queue=False, show_progress="hidden")
    results.outputs = outputs  # type: ignore[attr-defined]
    return results
