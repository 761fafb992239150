"""What a handler returns: new values by component. Components that are left out stay as they are."""

from __future__ import annotations

from typing import Any, TypeAlias

from gradio.components import Component

Updates: TypeAlias = dict[Component, Any]
#: how events are wired that answer at once: beside the queue, without a sign that something is under way
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
