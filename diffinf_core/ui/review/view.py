"""The pictures of a pair as HTML: side by side, under a slider, as a blink, as a map of the change.

Pictures are addressed by id (``di/picture/...``); only the live previews of an edit travel in the page.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from diffinf_core.engine import encoded
from diffinf_core.records import Decision, Edit
from diffinf_core.ui import markup
from diffinf_core.ui.settings_text import differs
from diffinf_core.ui.web.pictures import address


def data_uri(image: NDArray[np.uint8]) -> str:
    """A lossless picture inside the page; no file is served for it."""
    return "data:image/png;base64," + base64.b64encode(encoded(image)).decode()


def _figure(source: str, title: str, alt: str, area: str, over: str = "") -> str:
    return (
        f'<figure class="di-fig di-{area}"><div class="di-stack">'
        f'<img class="di-face" alt="{escape(alt)}" src="{source}" draggable="false">{over}</div>'
        f"<figcaption>{escape(title)}</figcaption></figure>"
    )


#: in the place of an edit that was not made
_UNMADE = (
    '<figure class="di-fig di-unmade"><div class="di-stack"><p>This picture was not repaired.</p>'
    '<button type="button" data-press="do-reedit">Edit this picture</button></div>'
    "<figcaption>no edit</figcaption></figure>"
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
    ahead = _ahead(following, of)
    opening = f'<div class="di-pair" data-sample="{escape(sample)}" data-ahead="{ahead}">'
    first = _figure(original, "original", f"original picture, labelled {label}", "original")
    if not version:
        return f"{opening}{first}{_UNMADE}</div>"
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


def two(
    sample: str,
    versions: Sequence[tuple[str, int]],
    label: str,
    following: Sequence[tuple[str, str]] = (),
    of: str = "",
) -> str:
    """The original beside two versions, each with its number; a decision is about the first."""
    original = address("original", sample, of=of)
    (shown, first), (other, second) = versions
    over = f'<img class="di-face di-over" alt="" src="{original}" draggable="false">'
    figures = [_figure(original, "original", f"original picture, labelled {label}", "original")]
    for version, number, area, more in (
        (shown, first, "edit", ", which Accept takes"),
        (other, second, "other", ""),
    ):
        figures.append(
            _figure(
                address("edit", sample, version),
                f"version {number}{more}",
                f"version {number} of the edit towards {label}",
                area,
                over,
            )
        )
    return (
        f'<div class="di-pair di-two" data-sample="{escape(sample)}" data-ahead="{_ahead(following, of)}">'
        f"{''.join(figures)}</div>"
    )


def _ahead(following: Sequence[tuple[str, str]], of: str) -> str:
    return " ".join(
        address(kind, s, v if kind != "original" else "-", of)
        for s, v in following
        for kind in ("original", "edit", "reconstruction", "heat")
        if v or kind == "original"
    )


def tabs(parts: Mapping[str, str]) -> str:
    """The tabs of panels that are all in the page; the first one is open."""
    buttons = "".join(
        f'<button type="button" role="tab" id="{part}-tab" data-part="{part}" '
        f'aria-controls="{part}-panel" aria-selected="{str(at == 0).lower()}" '
        f'tabindex="{0 if at == 0 else -1}">{escape(name)}</button>'
        for at, (part, name) in enumerate(parts.items())
    )
    return f'<div class="di-parts" role="tablist" aria-label="beside the pictures">{buttons}</div>'


def history(decisions: Sequence[tuple[Decision, str]]) -> str:
    """Decisions, newest first, each with its thumbnail, as buttons that show the pair again."""
    if not decisions:
        return markup.notice("Nothing was decided yet. Your last decisions come here.", "empty")
    parts = [
        f'<button type="button" class="di-past di-{escape(d.action)}" data-goto="{escape(d.sample)}">'
        f'<img alt="" src="{thumb}" loading="lazy"><span>{escape(markup.brief(d))}</span></button>'
        for d, thumb in decisions
    ]
    return f'<div class="di-history" role="group" aria-label="your last decisions">{"".join(parts)}</div>'


def preview(sample: str, image: NDArray[np.uint8], label: str, text: str, of: str = "") -> str:
    """The original beside an edit that is being made, uint8 (S, S, 3)."""
    original = _figure(
        address("original", sample, of=of), "original", "original picture", "original"
    )
    edit = _figure(data_uri(image), text, f"edit towards {label}, unfinished", "edit")
    return f'<div class="di-pair" data-sample="{escape(sample)}">{original}{edit}</div>'


def strip(
    edits: Sequence[Edit],
    shown: str,
    decided: str | None,
    usual: dict[str, object],
    proposed: str = "",
    beside: str = "",
    hidden: bool = False,
) -> str:
    """All versions of a sample, oldest first, as buttons with their pictures.

    ``proposed`` is the one that a run chose among several attempts of its own, ``beside`` the one that is
    compared with the displayed one. ``hidden``: without figures, as in blind mode.
    """
    parts = []
    for place, edit in enumerate(edits, 1):
        at = int(np.argmax(edit.judge_after))
        words = differs(edit, usual)
        flags = ", ".join(edit.flags) or "no flag"
        same = "" if edit.identity is None else f", identity {edit.identity:.2f}"
        title = f"judge {max(edit.judge_after):.2f} for class {at + 1}{same}; {flags}"
        title = "" if hidden else title
        mark = '<span class="di-proposed">proposed</span>' if edit.version == proposed else ""
        mark += '<span class="di-taken">accepted</span>' if edit.version == decided else ""
        pressed = str(edit.version == beside).lower()
        compare = (
            f'<button type="button" class="di-compare" data-beside="{escape(edit.version)}" '
            f'aria-pressed="{pressed}" aria-label="compare version {place} with the displayed one">compare'
            "</button>"
        )
        parts.append(
            '<div class="di-one">'
            f'<button type="button" class="di-version" data-version="{escape(edit.version)}" '
            f'aria-pressed="{str(edit.version == shown).lower()}" title="{escape(title)}">'
            f'<img alt="" src="{address("edit", edit.sample, edit.version)}">'
            f"<span>{place}: {escape(words)}</span>{mark}</button>"
            f"{compare if edit.version != shown else ''}</div>"
        )
    if not parts:
        return ""
    return f'<div class="di-strip" role="group" aria-label="versions of this edit">{"".join(parts)}</div>'
