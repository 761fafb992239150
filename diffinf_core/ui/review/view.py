"""The pictures of a pair as HTML: side by side, under a slider, as a blink, as a map of the change.

Pictures are addressed by id (``di/picture/...``); only the live previews of an edit travel in the page.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from diffinf_core.engine import encoded
from diffinf_core.records import Edit
from diffinf_core.ui.web.pictures import address

#: settings that do not change what an edit looks like, or not in a way worth naming
_SILENT = {"batch_size", "generator", "tries", "reached", "precision", "seed"}


def data_uri(image: NDArray[np.uint8]) -> str:
    """A lossless picture inside the page; no file is served for it."""
    return "data:image/png;base64," + base64.b64encode(encoded(image)).decode()


def _figure(source: str, title: str, alt: str, area: str, over: str = "") -> str:
    return (
        f'<figure class="di-fig di-{area}"><div class="di-stack">'
        f'<img class="di-face" alt="{escape(alt)}" src="{source}" draggable="false">{over}</div>'
        f"<figcaption>{escape(title)}</figcaption></figure>"
    )


_CUT = (
    '<label class="di-cut-row">original <input class="di-cut" type="range" min="0" max="100" value="50" '
    'aria-label="how much of the picture shows the original, from the left, in per cent"> edit</label>'
)


def pair(
    sample: str,
    version: str,
    label: str,
    following: Sequence[tuple[str, str]] = (),
    of: str = "",
) -> str:
    """Original, plain reconstruction, edit and difference of a version.

    ``following`` are the next (sample, version) pairs, whose pictures the page fetches ahead. A sample
    without an edit, version "", is shown alone.
    """
    original = address("original", sample, of=of)
    ahead = " ".join(
        address(kind, s, v if kind != "original" else "-", of)
        for s, v in following
        for kind in ("original", "edit", "reconstruction", "heat")
        if v or kind == "original"
    )
    opening = f'<div class="di-pair" data-sample="{escape(sample)}" data-ahead="{ahead}">'
    first = _figure(original, "original", f"original picture, labelled {label}", "original")
    if not version:
        return f"{opening}{first}</div>"
    over = f'<img class="di-face di-over" alt="" src="{original}" draggable="false">'
    edit = _figure(
        address("edit", sample, version),
        "edit (synthetic)",
        f"edit towards {label}",
        "edit",
        over,
    )
    plain = _figure(
        address("reconstruction", sample, version),
        "reconstruction",
        "plain reconstruction, no guidance",
        "plain",
    )
    heat = _figure(
        address("heat", sample, version), "what changed", "heat map of the change", "heat"
    )
    return f"{opening}{first}{edit}{plain}{heat}{_CUT}</div>"


def preview(sample: str, image: NDArray[np.uint8], label: str, text: str, of: str = "") -> str:
    """The original beside an edit that is being made, uint8 (S, S, 3)."""
    original = _figure(
        address("original", sample, of=of), "original", "original picture", "original"
    )
    edit = _figure(data_uri(image), text, f"edit towards {label}, unfinished", "edit")
    return f'<div class="di-pair" data-sample="{escape(sample)}">{original}{edit}</div>'


def differs(edit: Edit, usual: dict[str, object]) -> str:
    """What sets a version's settings apart from the run's own."""
    other = [
        f"{key} {value:g}" if isinstance(value, int | float) else f"{key} {value}"
        for key, value in edit.settings.items()
        if key not in _SILENT and value != usual.get(key)
    ]
    return ", ".join(other) or "as configured"


def strip(
    edits: Sequence[Edit],
    shown: str,
    decided: str | None,
    usual: dict[str, object],
    proposed: str = "",
) -> str:
    """All versions of a sample, oldest first, as buttons with their pictures.

    ``proposed`` is the one that a run chose among several attempts of its own.
    """
    parts = []
    for place, edit in enumerate(edits, 1):
        at = int(np.argmax(edit.judge_after))
        words = differs(edit, usual)
        flags = ", ".join(edit.flags) or "no flag"
        same = "" if edit.identity is None else f", identity {edit.identity:.2f}"
        title = f"judge {max(edit.judge_after):.2f} for class {at + 1}{same}; {flags}"
        mark = '<span class="di-proposed">proposed</span>' if edit.version == proposed else ""
        mark += '<span class="di-taken">accepted</span>' if edit.version == decided else ""
        parts.append(
            f'<button type="button" class="di-version" data-version="{escape(edit.version)}" '
            f'aria-pressed="{str(edit.version == shown).lower()}" title="{escape(title)}">'
            f'<img alt="" src="{address("edit", edit.sample, edit.version)}">'
            f"<span>{place}: {escape(words)}</span>{mark}</button>"
        )
    if not parts:
        return ""
    return f'<div class="di-strip" role="group" aria-label="versions of this edit">{"".join(parts)}</div>'
