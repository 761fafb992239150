"""Groups: what the ranking, the repair and the review do to each class and each subgroup."""

from __future__ import annotations

from typing import Any

import gradio as gr

from diffinf_core.records import DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.explore import markup as explore_markup
from diffinf_core.ui.session import Session


class GroupsPart:
    """One table per column of the data set that cuts it into subgroups."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.warnings = gr.HTML(elem_id="groups-warnings")
        self.tables = gr.HTML(elem_id="groups-tables", apply_default_css=False)
        gr.Markdown(
            "Fractions come with 95 % Wilson intervals. *Judge agrees after* is the fraction of edits in "
            "which the independent judge sees the assigned label."
        )
        self.outputs = [self.warnings, self.tables]

    def load(self) -> list[Any]:
        """The tables as things stand now."""
        try:
            run = self.session.run
            tables = run.explore.subgroups()
            tested, said = run.explore.subgroup_shifts(), run.explore.subgroup_warnings()
        except DiffInfError as error:
            return [markup.notice(str(error), "empty"), ""]
        html = "".join(explore_markup.groups_table(name, t) for name, t in tables.items())
        if said:
            warnings = "".join(markup.notice(text, "error") for text in said)
        elif len(tested):
            warnings = markup.notice(
                f"No test shows that edits change one subgroup more than the others: {len(tested)} "
                "two-sided permutation tests on perceptual distance and identity, Holm-corrected at "
                "5 %. How many of a subgroup are edited stands below."
            )
        else:
            warnings = markup.notice("Nothing is edited yet, so edits cannot be compared.")
        return [warnings, html]
