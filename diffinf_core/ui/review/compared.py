"""Two versions of an edit side by side, in figures and in settings, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from diffinf_core.records import Edit
from diffinf_core.ui import scores
from diffinf_core.ui.settings_text import setting, settings_apart, settings_of

_BETTER = ' <span class="di-mark di-better">better</span>'


def table(
    versions: Sequence[tuple[int, Edit]],
    classes: list[str],
    percentile: float,
    usual: Mapping[str, object],
) -> str:
    """Two versions, each with its number, in figures and settings; the better one of each is marked.

    ``usual`` are the run's own settings, which an edit of an earlier version of DiffInf may lack.
    """
    heads = "".join(f'<th scope="col">version {number}</th>' for number, _ in versions)
    first, second = (edit for _, edit in versions)
    rows = []
    for measure in scores.measures(classes, percentile):
        cells = [measure.read(edit)[1] for edit in (first, second)]
        better = _better(measure, first, second)
        marked = "".join(
            f"<td>{escape(cell)}{_BETTER if at == better else ''}</td>"
            for at, cell in enumerate(cells)
        )
        name = scores.explained(measure.name, measure.hint(first))
        rows.append(
            f'<tr><th scope="row">{name}</th><td>{escape(measure.read(first)[0])}</td>{marked}</tr>'
        )
    flagged = "".join(f"<td>{escape(', '.join(e.flags) or 'none')}</td>" for _, e in versions)
    rows.append(f'<tr><th scope="row">flags</th><td></td>{flagged}</tr>')
    settings = [settings_of(edit) for _, edit in versions]
    for key in settings_apart(*settings):
        cells = [setting(each.get(key)) for each in settings]
        rows.append(
            f'<tr class="di-setting"><th scope="row">{escape(key)}</th><td>{setting(usual.get(key))}</td>'
            + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            + "</tr>"
        )
    return (
        '<table class="di-scores di-compared"><thead><tr><th><span class="di-unseen">score or setting'
        f'</span></th><th scope="col">original, run default</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _better(measure: scores.Measure, first: Edit, second: Edit) -> int | None:
    """Which of two versions a score speaks for; None where they hardly differ, or it says nothing."""
    if measure.more_is_better is None:
        return None
    a, b = measure.after(first), measure.after(second)
    scale = measure.scale(first)
    if a is None or b is None or abs(a - b) < scores.SAME * scale:
        return None
    return int((b > a) == measure.more_is_better)
