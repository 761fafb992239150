"""Who reviews: what each did and how fast, and how far they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from diffinf_core.records import DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.session import Session


def agreement_words(found: Mapping[str, Any]) -> str:
    """Kappa of each two reviewers and alpha of all, as a table."""
    if not found["pairs"]:
        return markup.notice(
            "Nobody gave a second opinion yet. With the setting review.second_share, that share of the "
            "decided pairs comes to a second reviewer, who does not see the first decision.",
            "empty",
        )

    def figure(row: Mapping[str, Any], key: str) -> str:
        if row[key] is None:
            return "not defined"
        return f"{row[key]:.2f} ({_shown(row['low'])} to {_shown(row['high'])})"

    def table(found: Mapping[str, Any]) -> str:
        rows = [
            [
                f"{row['a']} and {row['b']}",
                str(row["n"]),
                f"{row['agree']:.0%}",
                figure(row, "kappa"),
            ]
            for row in found["pairs"]
        ]
        rows.append(["all (Krippendorff's alpha)", str(found["n"]), "", figure(found, "alpha")])
        return markup.table(["reviewers", "pairs", "agree", "Cohen's kappa, 95 %"], rows)

    blind = found["blind"]
    if not blind["pairs"]:
        return table(found) + "<p>None of these pairs was judged in blind mode by both.</p>"
    return f"{table(found)}<h4>In blind mode</h4>{table(blind)}"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def effort_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """What each reviewer did, as a table."""
    if not rows:
        return markup.notice("Nobody has decided yet.", "empty")
    kinds = [key for key in rows[0] if key not in ("reviewer", "pace")]
    cells = [
        [
            str(row["reviewer"]),
            *(f"{row[kind]:,}" for kind in kinds),
            "-" if row["pace"] is None else f"{row['pace']:.1f}",
        ]
        for row in rows
    ]
    return markup.table(["reviewer", *kinds, "pairs a minute"], cells)


class People:
    """The panel of the reviewers."""

    def __init__(self, session: Session) -> None:
        self.session = session
        with gr.Row(elem_classes="di-buttons"):
            self.compare = gr.Button("Compute", size="sm", elem_id="agreement-compute")
        self.agreed = gr.HTML(elem_id="agreement-said")

    def agreement(self) -> str:
        """What each reviewer did, and how far they agree."""
        who = self.session.run.reviewers
        try:
            done, agreed = effort_table(who.effort()), agreement_words(who.agreement())
            return f"<h3>Work</h3>{done}<h3>Agreement</h3>{agreed}"
        except DiffInfError as error:
            return markup.notice(str(error), "error")

    def wire(self) -> None:
        """Connect the button."""
        quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
        self.compare.click(self.agreement, None, [self.agreed], **quiet)
