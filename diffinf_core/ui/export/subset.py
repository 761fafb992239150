"""Which samples are exported: the whole training split, those of a tag, or those of a saved view."""

from __future__ import annotations

from typing import Any

import gradio as gr

from diffinf_core.records import DiffInfError
from diffinf_core.ui.inputs import LenientDropdown
from diffinf_core.ui.session import Session

_EVERYTHING = ("the whole training split", "")


class SubsetChoice:
    """The control; :meth:`named` makes its value an argument of the export."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.control = LenientDropdown(
            [_EVERYTHING], value=_EVERYTHING[1], label="Samples", elem_id="export-only"
        )

    def choices(self, only: str) -> dict[str, Any]:
        """The tags and views there are now, with all samples chosen where ``only`` is none of them."""
        found = [_EVERYTHING]
        try:
            tags = self.session.run.tags
            found += [(f"tag {name} ({n:,})", f"tag {name}") for name, n in tags.counts().items()]
            found += [(f"view {name}", f"view {name}") for name in tags.views()]
        except DiffInfError:
            pass  # there is no run yet
        gone: dict[str, Any] = {} if only in dict(found).values() else {"value": _EVERYTHING[1]}
        return gr.update(choices=found, **gone)

    @staticmethod
    def named(only: str) -> dict[str, Any]:
        """The tag or view by name; nothing for all samples."""
        kind, _, name = str(only or "").partition(" ")
        if name and kind not in ("tag", "view"):
            raise DiffInfError(f"There is no choice of samples {only!r}.")
        return {kind: name} if name else {}
