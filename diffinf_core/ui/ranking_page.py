"""Ranking: what the queue hangs on, which score finds most, and how far the scores agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
import pandas as pd

from diffinf_core.engine import ESTIMATORS
from diffinf_core.records import DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.session import Session

_PLOTS = ("curve", "scores", "signals", "estimators")
_ROWS = 50


def title_of(estimator: str) -> str:
    """A score, or a rank mean of several, in words."""
    names = [ESTIMATORS[n.strip()].title for n in estimator.split("+")]
    return names[0] if len(names) == 1 else f"mean rank of {', '.join(names)}"


def advice(influence: dict[str, Any]) -> str:
    """Which score finds most wrong labels where that is known, in a sentence with the figures."""
    used, found = influence["estimator"], influence["by_signal"]
    epochs = influence["checkpoint_epochs"]
    where = {
        "self_influence": f" over {len(epochs)} checkpoints, epochs {epochs[0]} to {epochs[-1]}",
        "last_layer": f" over {len(epochs)} checkpoints, epochs {epochs[0]} to {epochs[-1]}",
        "self_confidence": f", each fold trained to epoch {epochs[-1]}",
        "inverse_curvature": f" at the checkpoint of epoch {epochs[-1]}",
    }.get(used, f", epochs 1 to {epochs[-1]}")
    said = f"Ranked by {title_of(used)}{where}."
    if not found:
        return (
            f"{said} Which labels are wrong is not known here, so the scores cannot be compared; "
            "where two of them disagree, look at both ends."
        )
    best = max(found, key=lambda n: found[n]["average_precision"])
    if best == used:
        return f"{said} No other score finds more of the wrong labels that are known here."

    def figures(name: str) -> str:
        row = found[name]
        return (
            f"average precision {row['average_precision']:.2f}, "
            f"{100 * row['precision_at_tau']:.0f} % of the top {influence['tau']:g} % wrong"
        )

    return (
        f"{said} Of the wrong labels that are known here, {title_of(best)} finds more: "
        f"{figures(best)}; {title_of(used)}: {figures(used)}. Choose it below to rank by it."
    )


def choices() -> list[tuple[str, str]]:
    """The scores to rank by, with what each costs."""
    out = [(f"{e.title} ({e.cost})", e.name) for e in ESTIMATORS.values()]
    return [*out, (f"{title_of('mean_loss+aum+el2n')} (none)", "mean_loss+aum+el2n")]


def meanings() -> str:
    """One line per score: what it is and where it comes from."""
    return "\n".join(f"- **{e.title}**: {e.meaning} ({e.source})." for e in ESTIMATORS.values())


def build(session: Session) -> Callable[[], list[Any]]:
    """Build the page inside the current tab; returns what to refresh on load."""
    gr.Markdown(
        "### Ranking\nEvery training picture has a score for how much its label disturbs training; "
        "the top tau % are repaired and reviewed. Self-influence is the paper's score."
    )
    words = gr.HTML(elem_id="ranking-words")
    with gr.Row():
        chosen = gr.Dropdown(
            choices(), label="Rank by", elem_id="ranking-by", allow_custom_value=True, scale=3
        )
        use = gr.Button(
            "Rank by this", size="md", variant="primary", elem_id="ranking-use", scale=1
        )
    message = gr.HTML(elem_id="ranking-message")
    panels: list[gr.Plot] = []
    for i in range(0, len(_PLOTS), 2):
        with gr.Row():
            panels += [
                gr.Plot(show_label=False, elem_id=f"plot-{name}") for name in _PLOTS[i : i + 2]
            ]
    table = gr.Dataframe(
        interactive=False, label=f"First {_ROWS} of the ranking", elem_id="ranking", visible=False
    )
    with gr.Accordion("What the scores mean", open=False):
        gr.Markdown(meanings())

    def rows() -> pd.DataFrame:
        ranked = session.engine.ranking().sort_values("rank").head(_ROWS)
        train = session.engine.training
        samples = [train.sample(train.position(i)) for i in ranked["id"]]
        return pd.DataFrame(
            {
                "rank": ranked["rank"].to_numpy(),
                "score": [f"{v:.4g}" for v in ranked["score"]],
                "file": [s.file for s in samples],
                "label": [s.label for s in samples],
            }
        )

    def results() -> list[Any]:
        hidden = [gr.update(value=None, visible=False)] * len(panels)
        try:
            report = session.engine.report()
            estimator = session.engine.config.influence.estimator
            if not report["influence"]:
                text = (
                    f"The ranking by {title_of(estimator)} is not there yet: start the run on the "
                    "Run page."
                )
                return [markup.notice(text, "empty"), estimator, gr.update(visible=False), *hidden]
            figures = session.engine.plots()
            top = gr.update(value=rows(), visible=True)
        except DiffInfError as error:
            text = markup.notice(str(error), "empty")
            return [text, gr.skip(), gr.update(visible=False), *hidden]
        shown = [gr.update(value=figures.get(n), visible=n in figures) for n in _PLOTS]
        return [markup.notice(advice(report["influence"])), estimator, top, *shown]

    outputs = [words, chosen, table, *panels]

    def rank_by(estimator: str) -> list[Any]:
        try:
            if session.jobs.running:
                raise DiffInfError("A job is running; cancel it before changing the ranking.")
            session.rank_by(estimator or "")
            estimator = session.engine.config.influence.estimator
        except DiffInfError as error:
            return [markup.notice(str(error), "error"), *[gr.skip()] * len(outputs)]
        if session.ready():
            said = "Saved. The repairs for this ranking are there already."
        else:
            said = (
                f"Saved: ranked by {title_of(estimator)}. Start the run on the Run page to repair "
                "the pictures that are new in the top tau %; edits and decisions made so far stay."
            )
        return [markup.notice(said), *results()]

    use.click(rank_by, [chosen], [message, *outputs], queue=False)
    results.outputs = outputs  # type: ignore[attr-defined]
    return results
