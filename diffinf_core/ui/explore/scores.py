"""Scores: which one the run ranks by, where tau cuts, how far they agree and where they do not."""

from __future__ import annotations

from typing import Any

import gradio as gr

from diffinf_core.config import AUTO
from diffinf_core.engine import ESTIMATORS
from diffinf_core.records import DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.explore import data as explore_data
from diffinf_core.ui.explore import markup as explore_markup
from diffinf_core.ui.explore.parts import BODY, TABLE_SCRIPT, Pager, skipped
from diffinf_core.ui.explore.precision import PrecisionPart
from diffinf_core.ui.inputs import LenientDropdown
from diffinf_core.ui.session import Session

_PLOTS = ("curve", "signals", "estimators")


def title_of(estimator: str) -> str:
    """A score, a rank mean of several, or "auto", in words."""
    if estimator == AUTO:
        return "the score that ranks planted errors best"
    names = [ESTIMATORS[n.strip()].title for n in estimator.split("+")]
    return names[0] if len(names) == 1 else f"mean rank of {', '.join(names)}"


def advice(influence: dict[str, Any], auto: bool = False) -> str:
    """Which score finds most wrong labels where that is known, in a sentence with the figures.

    ``auto``: the score was chosen by planted errors.
    """
    used, found = influence["estimator"], influence["by_signal"]
    epochs = influence["checkpoint_epochs"]
    where = {
        "self_influence": f" over {len(epochs)} checkpoints, epochs {epochs[0]} to {epochs[-1]}",
        "last_layer": f" over {len(epochs)} checkpoints, epochs {epochs[0]} to {epochs[-1]}",
        "self_confidence": f", each fold trained to epoch {epochs[-1]}",
        "feature_confidence": "",
        "inverse_curvature": f" at the checkpoint of epoch {epochs[-1]}",
    }.get(used, f", epochs 1 to {epochs[-1]}")
    why = f", {title_of(AUTO)}" if auto else ""
    said = f"Ranked by {title_of(used)}{why}{where}."
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
    out.append((f"{title_of('mean_loss+aum+el2n')} (none)", "mean_loss+aum+el2n"))
    return [*out, (f"{title_of(AUTO)} (one more training)", AUTO)]


def meanings() -> str:
    """One line per score: what it is and where it comes from."""
    return "\n".join(f"- **{e.title}**: {e.meaning} ({e.source})." for e in ESTIMATORS.values())


class ScoresPart:
    """The ranking's figures and what can be changed about it."""

    def __init__(self, session: Session, handed: gr.Textbox) -> None:
        self.session = session
        self.words = gr.HTML(elem_id="ranking-words", elem_classes="di-gate")
        with gr.Column(elem_classes=BODY):
            self._build_tau()
            self._build_choice()
            self._build_plots()
            self.precision = PrecisionPart(session)
            with gr.Row():
                with gr.Column(scale=2, min_width=420):
                    self.panels.append(gr.Plot(show_label=False, elem_id="plot-estimators"))
                with gr.Column(scale=3, min_width=420):
                    self._build_disagreement()
            with gr.Accordion("What the scores mean", open=False):
                gr.Markdown(meanings())
        self.list = [self.table, *self.pager.outputs]
        self.outputs = [
            self.words, self.picture, self.chosen, *self.panels, self.first, self.second,
            *self.list, *self.precision.outputs,
        ]  # fmt: skip
        self._wire(handed)

    # ------------------------------------------------------------ layout

    def _build_tau(self) -> None:
        def values(_: Any) -> dict[str, Any]:
            try:
                return explore_data.score_values(self.session.run)
            except DiffInfError as error:
                return {"error": str(error)}

        self.picture = gr.HTML(
            value="",
            html_template='<div class="di-tau"></div>',
            js_on_load="window.diTau.mount(element, props, server, watch)",
            server_functions=[values],
            elem_id="explore-tau",
            apply_default_css=False,
        )
        with gr.Row():
            self.set_tau = gr.Button(
                "Set this tau in the run",
                size="md",
                elem_id="explore-set-tau",
                scale=0,
                min_width=220,
            )
        self.tau_message = gr.HTML(elem_id="explore-tau-message", elem_classes="di-optional")

    def _build_choice(self) -> None:
        with gr.Row():
            self.chosen = gr.Dropdown(
                choices(), label="Rank by", elem_id="ranking-by", allow_custom_value=True, scale=3
            )
            self.use = gr.Button(
                "Rank by this", size="md", variant="primary", elem_id="ranking-use", scale=1
            )
        self.message = gr.HTML(elem_id="ranking-message", elem_classes="di-optional")

    def _build_plots(self) -> None:
        with gr.Row():
            self.panels = [gr.Plot(show_label=False, elem_id=f"plot-{name}") for name in _PLOTS[:2]]

    def _build_disagreement(self) -> None:
        gr.Markdown(
            "### Where two scores disagree\nSamples in the top tau % by the first score and not by "
            "the second, the widest apart first."
        )
        with gr.Row():
            self.first = LenientDropdown(label="High by", elem_id="disagree-first")
            self.second = LenientDropdown(label="and not by", elem_id="disagree-second")
            self.swap = gr.Button("Swap", size="sm", elem_id="disagree-swap", min_width=80)
        self.pager = Pager("disagree")
        self.table = gr.HTML(
            elem_id="explore-disagreement", js_on_load=TABLE_SCRIPT, apply_default_css=False
        )

    # ------------------------------------------------------------ handlers

    def load(self, first: str | None, second: str | None, page: float) -> list[Any]:
        """The figures of the ranking as it is now."""
        try:
            run = self.session.run
            key = run.explore.samples_key()
            figures, found = run.explore.scores.plots(), run.explore.scores.figures()
            names = list(run.explore.samples().scores.columns)
        except DiffInfError as error:
            text = markup.notice(str(error), "empty")
            return [text, *skipped(self.outputs[1:])]
        first = first if first in names else names[0]
        second = second if second in names else names[2]
        options = [(ESTIMATORS[n].title, n) for n in names]
        return [
            markup.notice(advice(found, run.config.influence.estimator == AUTO)),
            key,
            run.config.influence.estimator,
            *(gr.update(value=figures.get(n), visible=n in figures) for n in _PLOTS),
            gr.update(choices=options, value=first),
            gr.update(choices=options, value=second),
            *self._list(first, second, page),
            *self.precision.load(),
        ]

    def _list(self, first: str, second: str, page: float) -> list[Any]:
        run = self.session.run
        try:
            found = run.explore.scores.disagreement(first, second)
            table = run.explore.samples().table
        except DiffInfError as error:
            return [markup.notice(str(error), "error"), *skipped(self.pager.outputs)]
        number, part = Pager.part(page, len(found))
        rows = found.iloc[part]
        at = table.iloc[rows["position"]]
        rows = rows.assign(**{name: at[name].to_numpy() for name in ("id", "file", "label")})
        html = explore_markup.disagreement_table(rows, title_of(first), title_of(second))
        return [html, *Pager.shown(number, len(found), "samples")]

    def _changed(self, said: str, *given: Any) -> list[Any]:
        if self.session.ready():
            said += " The repairs for this ranking are there already."
        else:
            said += (
                " Start the run on the Run page to repair the pictures that are new in the "
                "top tau %; edits and decisions made so far stay."
            )
        return [markup.notice(said), *self.load(*given)]

    def _rank_by(self, estimator: str, *given: Any) -> list[Any]:
        try:
            self.session.rank_by(estimator or "")
        except DiffInfError as error:
            return [markup.notice(str(error), "error"), *skipped(self.outputs)]
        now = self.session.run.config.influence.estimator
        return self._changed(f"Saved: ranked by {title_of(now)}.", *given)

    def _new_tau(self, tau: str, *given: Any) -> list[Any]:
        try:
            try:
                asked = float(tau)
            except ValueError:
                raise DiffInfError(f"tau must be a number of per cent, not {tau!r}.") from None
            self.session.set_tau(asked)
        except DiffInfError as error:
            return [markup.notice(str(error), "error"), *skipped(self.outputs)]
        now = self.session.run.config.influence.tau
        return self._changed(f"Saved: the top {now:g} % are called high-influence.", *given)

    # ------------------------------------------------------------ events

    def _wire(self, tau: gr.Textbox) -> None:
        given = [self.first, self.second, self.pager.page]
        self.use.click(
            self._rank_by, [self.chosen, *given], [self.message, *self.outputs], queue=False
        )
        self.set_tau.click(
            self._new_tau,
            [tau, *given],
            [self.tau_message, *self.outputs],
            queue=False,
            js="(...given) => [window.diTau.asked(), ...given.slice(1)]",
        )
        quick: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
        for control in (self.first, self.second):
            control.input(lambda a, b: self._list(a, b, 1), given[:2], self.list, **quick)
        self.swap.click(
            lambda a, b: [b, a, *self._list(b, a, 1)],
            given[:2],
            [self.first, self.second, *self.list],
            **quick,
        )
        self.pager.wire(self._list, given, self.list)
