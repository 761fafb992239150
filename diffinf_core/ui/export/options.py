"""How the data set is written: format, splits, form of the edits, audit."""

from __future__ import annotations

from typing import Any

import gradio as gr

from diffinf_core.engine import FORMATS
from diffinf_core.ui import markup

_SPLITS = {"the training split, as it was reviewed": "train", "all splits": "all"}
_EDITS = {
    "at the original's size, lossless": "full",
    "encoded as the original was": "like-original",
    "as made, at the run's size": "working",
}


class ExportOptions:
    """Choices and what they mean; :attr:`inputs` in the order of :meth:`chosen`."""

    def __init__(self) -> None:
        names = [(f"{form.name}: {form.title}", form.name) for form in FORMATS.values()]
        with gr.Accordion("Format, splits and edits", open=False, elem_id="export-options"):
            self.format = gr.Dropdown(
                names, value=names[0][1], label="Format", elem_id="export-format"
            )
            self.usage = gr.HTML(usage(names[0][1]), elem_id="export-usage")
            with gr.Row():
                self.splits = gr.Radio(
                    list(_SPLITS.items()), value="train", label="Pictures", elem_id="export-splits"
                )
                self.edits = gr.Radio(
                    list(_EDITS.items()), value="full", label="Edits", elem_id="export-edits"
                )
            with gr.Row():
                self.audit = gr.Checkbox(
                    value=True,
                    label="Shortcut audit: can edits be told by anything but what they show?",
                    elem_id="export-audit",
                )
                self.comments = gr.Checkbox(
                    label="Write reviewers' comments into the manifest", elem_id="export-comments"
                )
        self.inputs = [self.format, self.splits, self.edits, self.audit, self.comments]
        self.format.input(usage, [self.format], [self.usage], queue=False)

    @staticmethod
    def chosen(format: str, splits: str, edits: str, audit: bool, comments: bool) -> dict[str, Any]:
        """The values of :attr:`inputs` as options of an export."""
        return {
            "format": format, "splits": splits, "edits": edits, "audit": audit, "comments": comments,
        }  # fmt: skip


def usage(name: str) -> str:
    """How to open an export of a format."""
    return markup.notice(f"Opened by {FORMATS[name].usage}")


def audit_words(audit: dict[str, Any] | None) -> str:
    """What the shortcut audit of an export says."""
    if not audit:
        return ""
    warnings = [markup.notice(text, "error") for text in audit["warnings"]]
    return markup.notice(f"Shortcut audit: {' '.join(audit['summary'])}") + "".join(warnings)
