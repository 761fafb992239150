"""HTML fragments. Everything that comes from data or from a person is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from diffinf_core.records import Decision
from diffinf_core.ui.jobs import Snapshot

_VERBS = {
    "accept": "accepted: train on the edit",
    "reject": "edit rejected: original kept",
    "keep": "kept: original and label are right",
    "drop": "dropped from the data set",
    "second_look": "marked for a second look",
}
#: the same below a thumbnail
_BRIEF = {
    "accept": "accepted",
    "reject": "rejected",
    "keep": "kept",
    "drop": "dropped",
    "second_look": "second look",
}
#: the same, of somebody who did it
_DID = {
    "accept": "accepted this edit",
    "reject": "rejected this edit",
    "keep": "kept this picture",
    "drop": "dropped this picture",
    "second_look": "asked for a second look",
}


def deed(decision: Decision) -> str:
    """Who decided what, as the beginning of a sentence."""
    if decision.action == "relabel":
        return f"{decision.reviewer} relabelled this picture to {decision.new_label}"
    return f"{decision.reviewer} {_DID[decision.action]}"


def outcome(decision: Decision) -> str:
    """A decision in words."""
    if decision.between:
        return f"disagreement: {' and '.join(decision.between)}"
    if decision.action == "relabel":
        return f"relabelled to {decision.new_label}"
    return _VERBS[decision.action]


def brief(decision: Decision) -> str:
    """A decision in a word or two."""
    if decision.action == "relabel":
        return f"to {decision.new_label}"
    return _BRIEF[decision.action]


def relabel_key(classes: Sequence[str], at: int) -> str:
    """The digit that relabels to a class, "" where none does.

    Digits count the classes from 1; where classes are numbers themselves, a digit means the class of that
    name and no other.
    """
    if any(name.isdecimal() for name in classes):
        return classes[at] if classes[at] in tuple("0123456789") else ""
    return str(at + 1) if at < 9 else ""


def two_opinions(decisions: Sequence[Decision]) -> str:
    """A disagreement that awaits a third decision."""
    said = "; ".join(f"{d.reviewer}: {outcome(d)}" for d in decisions)
    return notice(f"Two reviewers disagree, your decision settles it. {said}.")


def progress(done: int, total: int, rate: float | None, reviewer: str = "") -> str:
    """How many pairs of a queue are decided, pairs per minute, and who decides."""
    text = f"{done} of {total} decided" + ("" if rate is None else f", {rate:.0f} a minute")
    who = f'<span class="di-who">{escape(reviewer)}</span>' if reviewer else ""
    return (
        f'<span class="di-progress"><progress max="{max(1, total)}" value="{done}" aria-hidden="true">'
        f"</progress> {text}</span>{who}"
    )


def running(sample: str, text: str) -> str:
    """A line on an edit that is made of another pair, with a way there and a way to end it."""
    return (
        f'<div class="di-notice di-running" role="status">{escape(text)} '
        f'<button type="button" data-goto="{escape(sample)}">Show</button>'
        '<button type="button" data-press="reedit-cancel">Cancel</button></div>'
    )


def facts(file: str, columns: Sequence[tuple[str, str]], link: str = "") -> str:
    """The file of a sample, to copy, and what the data set's own columns say of it.

    ``link`` is where the original file can be opened, "" where it cannot.
    """
    name = escape(file)
    shown = f'<a href="{escape(link)}" target="_blank" rel="noopener">{name}</a>' if link else name
    cells = "".join(
        f"<span>{escape(column)} <b>{escape(value)}</b></span>" for column, value in columns
    )
    return (
        f'<div class="di-file"><span class="di-name-of">{shown}</span>'
        f'<button type="button" data-copy="{name}" aria-label="copy the file name">copy</button>{cells}</div>'
    )


def _hint(suggestion: str, why: str, new_label: str = "") -> str:
    if not suggestion:
        return ""
    action = f"relabel to {new_label}" if suggestion == "relabel" and new_label else suggestion
    words = f"suggested: <strong>{escape(action)}</strong>, because {escape(why)}"
    return f'<span class="di-hint">{words}</span>'


def headline(
    place: int,
    total: int,
    label: str,
    rank: int | None,
    decision: Decision | None,
    suggestion: str,
    why: str,
    sample: str = "",
    version: str = "",
    beside: str = "",
    comment: str = "",
    keys: str = "",
    new_label: str = "",
) -> str:
    """The line above a pair; ``beside`` is HTML of its own, such as :func:`facts`.

    ``new_label`` is the class that a suggested relabel leads to; ``rank`` None is not to be known.

    ``keys`` are the digits that relabel, see :func:`relabel_key`.
    """
    if decision is None:
        state = '<span class="di-state">undecided</span>'
    else:
        who = f" ({decision.reviewer})" if decision.reviewer != "local" else ""
        text = outcome(decision) + who
        state = f'<span class="di-state di-{escape(decision.action)}">{escape(text)}</span>'
    placed = "" if rank is None else f"<span>influence rank {rank}</span>"
    said = f'<q class="di-comment-of">{escape(comment)}</q>' if comment else ""
    return (
        f'<div class="di-head" data-sample="{escape(sample)}" data-version="{escape(version)}" '
        f'data-suggestion="{escape(suggestion)}" data-keys="{escape(keys)}">'
        f'<span class="di-place">{place} of {total}</span>'
        f'<span>assigned label <strong class="di-label">{escape(label)}</strong></span>'
        f"{placed}{state}{said}{beside}"
        f"{_hint(suggestion, why, new_label)}</div>"
    )


def notice(text: str, kind: str = "info") -> str:
    """A sentence in a box; kind is info, error or empty."""
    role = "alert" if kind == "error" else "status"
    return f'<div class="di-notice di-{kind}" role="{role}">{escape(text)}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Figures in rows; the first cell of each names it."""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return f'<table class="di-facts"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


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
            text = " · ".join(filter(None, (f"{event.done} of {event.total}", event.note)))
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
    elif snapshot.stopping:
        top = notice(f"{snapshot.name}: stopping at the next step; finished work is kept")
    elif snapshot.state in ("running", "cancelled"):
        top = notice(f"{snapshot.name}: {snapshot.state}")
    return top + f'<div class="di-stages">{"".join(rows)}</div>'
