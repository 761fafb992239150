"""Groups: what the ranking, the repair and the review do to each class and each subgroup."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pandas as pd

from diffinf_core.engine import ALPHA
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
            tested = run.explore.subgroup_shifts()
        except DiffInfError as error:
            return [markup.notice(str(error), "empty"), ""]
        html = "".join(explore_markup.groups_table(name, t) for name, t in tables.items())
        if not len(tested):
            return [markup.notice("Nothing is edited yet, so edits cannot be compared."), html]
        said = statements(tested)
        tests = (
            f"{len(tested)} two-sided permutation tests on perceptual distance and identity, "
            "Holm-corrected at 5 %."
        )
        if not said:
            text = f"No test shows that edits change one subgroup more than the others: {tests}"
            return [markup.notice(text), html]
        return ["".join(markup.notice(text, "error") for text in said) + markup.notice(tests), html]


def statements(tested: pd.DataFrame) -> list[str]:
    """One sentence for each measure by which edits change some subgroup more than the others.

    It names the subgroup that differs most; of groups that make up a column, all cannot be above the others.
    ``tested`` is what ``OpenRun.explore.subgroup_shifts`` gives.
    """
    out = []
    farther = tested[tested["farther"].astype(bool) & (tested["adjusted"] < ALPHA)]
    for metric, rows in farther.groupby("metric", sort=False):
        order = (rows["mean"] - rows["others"]).abs().sort_values(ascending=False, kind="stable")
        row, *less = rows.loc[order.index].to_dict("records")
        named = "labelled" if row["column"] == "label" else f"with {row['column']} ="
        text = (
            f"Edits of pictures {named} {row['value']} change more ({metric} "
            f"{row['mean']:.3g} over {row['n']} edits against {row['others']:.3g}, "
            f"p = {row['adjusted']:.2g})."
        )
        if less:
            others = ", ".join(f"{other['column']} = {other['value']}" for other in less)
            text += f" Less so: {others}."
        out.append(text)
    return out
