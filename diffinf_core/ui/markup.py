"""HTML fragments. Everything that comes from data or from a person is escaped here."""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffinf_core.records import Decision, Edit
from diffinf_core.ui.jobs import Snapshot


def data_uri(image: NDArray[np.uint8]) -> str:
    """A lossless picture inside the page; no file is served for it."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def heat(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Where an edit changed the picture: dark for nothing, bright yellow for 64 levels or more."""
    change = np.abs(after.astype(np.int16) - before.astype(np.int16)).max(2) / 64.0
    level = np.clip(change, 0, 1)[..., None]
    ramp = np.array([[18, 20, 32], [128, 40, 110], [240, 110, 50], [255, 240, 120]], float)
    at = level * (len(ramp) - 1)
    low = np.clip(at.astype(int), 0, len(ramp) - 2)[..., 0]
    share = at - low[..., None]
    return (ramp[low] * (1 - share) + ramp[low + 1] * share).astype(np.uint8)


def _figure(image: NDArray[np.uint8], title: str, alt: str, area: str, extra: str = "") -> str:
    return (
        f'<figure class="di-fig" style="grid-area:{area}"><div class="di-stack">'
        f'<img class="di-face" alt="{escape(alt)}" src="{data_uri(image)}">{extra}</div>'
        f"<figcaption>{escape(title)}</figcaption></figure>"
    )


def pair(
    original: NDArray[np.uint8],
    reconstruction: NDArray[np.uint8] | None,
    edit: NDArray[np.uint8] | None,
    label: str,
    preview: str = "",
) -> str:
    """Original, plain reconstruction, edit and difference, side by side."""
    parts = [_figure(original, "original", f"original picture, labelled {label}", "original")]
    if reconstruction is not None:
        alt = "plain reconstruction, no guidance"
        parts.append(_figure(reconstruction, "reconstruction", alt, "plain"))
    if edit is not None:
        over = f'<img class="di-face di-over" alt="" src="{data_uri(original)}">'
        title = preview or "edit (synthetic); hold B for the original"
        parts.append(_figure(edit, title, f"edit towards {label}", "edit", over))
        parts.append(_figure(heat(original, edit), "difference", "heat map of the change", "heat"))
    return f'<div class="di-pair">{"".join(parts)}</div>'


def _probability(values: list[float], at: int) -> str:
    return f"{values[at]:.2f}"


def _row(name: str, before: str, after: str, hint: str, verdict: str = "") -> str:
    mark = f'<span class="di-mark">{escape(verdict)}</span>' if verdict else ""
    return (
        f'<tr title="{escape(hint)}"><th scope="row">{escape(name)}</th>'
        f"<td>{escape(before)}</td><td>{escape(after)} {mark}</td></tr>"
    )


def scores(edit: Edit, classes: list[str], percentile: float) -> str:
    """The table of before and after."""
    at = classes.index(edit.label)

    def named(values: list[float]) -> str:
        top = int(np.argmax(values))
        return f"{classes[top]} {values[top]:.2f}"

    def arrow(before: float, after: float, higher_is_better: bool) -> str:
        if abs(after - before) < 0.02:
            return "="
        return "better" if (after > before) == higher_is_better else "worse"

    rows = [
        _row(
            "judge sees",
            named(edit.judge_before),
            named(edit.judge_after),
            edit.judge_name + ". It never takes part in the repair.",
        ),
        _row(
            f"judge: {edit.label}",
            _probability(edit.judge_before, at),
            _probability(edit.judge_after, at),
            "Probability that the independent judge gives the assigned label.",
            arrow(edit.judge_before[at], edit.judge_after[at], True),
        ),
        _row(
            f"classifier: {edit.label}",
            _probability(edit.classifier_before, at),
            _probability(edit.classifier_after, at),
            "The same for the classifier trained on the noisy labels.",
            arrow(edit.classifier_before[at], edit.classifier_after[at], True),
        ),
        _row(
            "h (high influence)",
            f"{edit.h_before:.2f}",
            f"{edit.h_after:.2f}",
            "Predicted probability of being high-influence. The repair lowers it on purpose, so a "
            "low value alone proves nothing: look at the judge.",
            arrow(edit.h_before, edit.h_after, False),
        ),
        _row(
            "self-influence",
            f"{edit.influence_before:.3g}",
            f"{edit.influence_after:.3g}",
            f"True score of equation 5, recomputed for the edit. The original stands at percentile "
            f"{percentile:.1f} of the training set.",
            arrow(1, edit.influence_after / max(edit.influence_before, 1e-12), False),
        ),
    ]
    if edit.identity is not None:
        beside = "strangers are near 0."
        if edit.identity_own is not None and edit.identity_stranger is not None:
            beside = (
                f"the person's own pictures have {edit.identity_own:.2f}, the nearest stranger "
                f"{edit.identity_stranger:.2f}."
            )
        rows.append(
            _row(
                "identity cosine",
                "1.00",
                f"{edit.identity:.3f}",
                f"Same person as the original, by {edit.identity_name}; {beside}",
            )
        )
    rows += [
        _row(
            "perceptual distance",
            f"floor {edit.perceptual_floor:.3f}",
            f"{edit.perceptual:.3f}",
            f"{edit.perceptual_name}; the floor is the plain reconstruction's distance.",
        ),
        _row("SSIM", "1.00", f"{edit.ssim:.3f}", "Structural similarity to the original."),
    ]
    if edit.sharpness is not None:
        text = "Fine detail as a share of the original's; well below 1.00 is blur."
        rows.append(_row("sharpness", "1.00", f"{edit.sharpness:.2f}", text))
    if edit.changed_area is not None:
        text = "Share of the pixels that changed visibly"
        if edit.changed_outside is not None:
            text += f"; of what is not the person {edit.changed_outside:.1%}"
        rows.append(_row("changed area", "0%", f"{edit.changed_area:.0%}", text + "."))
    flags = "".join(
        f'<p class="di-flag"><strong>{escape(name)}</strong>: {escape(why)}</p>'
        for name, why in edit.flags.items()
    )
    return (
        f'{flags}<table class="di-scores"><thead><tr><th></th><th scope="col">before</th>'
        f'<th scope="col">after</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


_VERBS = {
    "accept": "accepted: train on the edit",
    "reject": "edit rejected: original kept",
    "keep": "kept: original and label are right",
    "drop": "dropped from the data set",
    "second_look": "marked for a second look",
}


def headline(
    place: int,
    total: int,
    label: str,
    rank: int,
    decision: Decision | None,
    suggestion: str,
    why: str,
) -> str:
    """The line above a pair."""
    if decision is None:
        state = '<span class="di-state">undecided</span>'
    else:
        text = (
            f"relabelled to {decision.new_label}"
            if decision.action == "relabel"
            else _VERBS[decision.action]
        )
        state = f'<span class="di-state di-{escape(decision.action)}">{escape(text)}</span>'
    return (
        f'<div class="di-head"><span class="di-place">{place} of {total}</span>'
        f'<span>assigned label <strong class="di-label">{escape(label)}</strong></span>'
        f"<span>influence rank {rank}</span>{state}"
        f'<span class="di-hint">suggested: <strong>{escape(suggestion)}</strong>, because '
        f"{escape(why)}</span></div>"
    )


def notice(text: str, kind: str = "info") -> str:
    """A sentence in a box; kind is info, error or empty."""
    role = "alert" if kind == "error" else "status"
    return f'<div class="di-notice di-{kind}" role="{role}">{escape(text)}</div>'


def duration(seconds: float) -> str:
    """A rough time in words."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def stages(snapshot: Snapshot, complete: dict[str, bool]) -> str:
    """A bar per stage; a stage outside the job's list (retraining, export) comes below."""
    names = list(complete) + [s for s in snapshot.stages if s not in complete]
    rows = []
    for name in names:
        event = snapshot.stages.get(name)
        over = snapshot.state in ("idle", "done") and name in complete
        # A bar that ended belongs to the settings of that time; only what is on disk counts now.
        if event is None or over or (complete.get(name) and event.done >= event.total):
            share = 100 if complete.get(name) else 0
            text = "complete" if share else "waiting"
        else:
            share = round(100 * event.done / max(1, event.total))
            text = f"{event.done} of {event.total} {event.note}"
            if snapshot.state == "running" and name in snapshot.left:
                text += f" · {duration(snapshot.left[name])} left"
            if snapshot.state == "cancelled":
                text = f"stopped at {event.done} of {event.total}"
        figures = ""
        if event is not None and event.values and share < 100:
            figures = ", ".join(f"{k} {v:.3f}" for k, v in event.values.items())
        rows.append(
            f'<div class="di-stage"><span class="di-name">{escape(name)}</span>'
            f'<progress max="100" value="{share}" aria-label="{escape(name)}"></progress>'
            f'<span class="di-text">{escape(text)} <em>{escape(figures)}</em></span></div>'
        )
    top = ""
    if snapshot.state == "failed":
        top = notice(snapshot.error, "error")
    elif snapshot.state in ("running", "cancelled"):
        top = notice(f"{snapshot.name}: {snapshot.state}")
    return top + f'<div class="di-stages">{"".join(rows)}</div>'
