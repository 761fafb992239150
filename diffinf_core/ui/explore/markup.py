"""HTML of the Explore page. Everything that comes from data is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd

from diffinf_core.engine import ESTIMATORS, STATES

#: side in pixels of the thumbnails that are asked for
SIDE = 96
_NUMBER = ' class="di-number"'


def thumbnail(sample: str, label: str) -> str:
    """A sample's small picture; fetched when it comes into view."""
    return (
        f'<img class="di-thumb" loading="lazy" width="{SIDE // 2}" height="{SIDE // 2}" '
        f'alt="picture labelled {escape(label)}" src="di/thumb/{escape(sample)}.webp?side={SIDE}">'
    )


def picker(sample: str, file: str) -> str:
    """A checkbox that takes a sample into the selection."""
    return (
        f'<input type="checkbox" data-di-pick="{escape(sample)}" '
        f'aria-label="select {escape(file)}">'
    )


def _heading(
    name: str, title: str, sort: str, descending: bool, note: str = "", number: bool = True
) -> str:
    state = ("descending" if descending else "ascending") if name == sort else "none"
    kind = _NUMBER if number else ""
    arrow = {"ascending": " ▲", "descending": " ▼", "none": ""}[state]
    hint = note or f"sort by {title}"
    return (
        f'<th scope="col" aria-sort="{state}"{kind}><button type="button" '
        f'data-di-sort="{escape(name)}" title="{escape(hint)}">{escape(title)}{arrow}</button></th>'
    )


def samples_table(
    rows: pd.DataFrame,
    scores: Sequence[str],
    measures: Sequence[str],
    sort: str,
    descending: bool,
    ranked_by: str,
) -> str:
    """A page of samples: id, file, label, rank, high, state, a column per score and measure, all sortable."""
    if rows.empty:
        return '<div class="di-notice di-empty" role="status">No sample fits these filters.</div>'
    heads = [
        '<th scope="col"><input type="checkbox" data-di-pick-page aria-label="select this page"></th>',
        '<th scope="col">picture</th>',
        _heading(
            "rank", "rank", sort, descending, f"rank by {ranked_by}; 1 is the most suspicious"
        ),
        _heading("file", "file", sort, descending, number=False),
        _heading("label", "label", sort, descending, number=False),
    ]
    for name in scores:
        title = ESTIMATORS[name].title
        heads.append(_heading(name, title, sort, descending, ESTIMATORS[name].meaning))
    heads += [_heading(name, name, sort, descending) for name in measures]
    heads.append('<th scope="col">decision</th>')
    body = []
    for row in rows.to_dict("records"):
        mark = ' <span class="di-mark">high</span>' if row["high"] else ""
        cells = "".join(
            f'<td class="di-number">{row[name]:.4g}</td>' for name in (*scores, *measures)
        )
        body.append(
            f"<tr><td>{picker(row['id'], row['file'])}</td>"
            f"<td>{thumbnail(row['id'], row['label'])}</td>"
            f'<td class="di-number">{row["rank"]}{mark}</td>'
            f'<th scope="row" class="di-file-name" title="{escape(row["file"])}">{escape(row["file"])}</th>'
            f"<td>{escape(row['label'])}</td>{cells}"
            f"<td>{escape(STATES[row['state']].replace('_', ' '))}</td></tr>"
        )
    return _table("samples", heads, body)


def _table(caption: str, heads: Sequence[str], body: Sequence[str]) -> str:
    return (
        f'<div class="di-scroll"><table class="di-table"><caption class="di-unseen">{escape(caption)}'
        f"</caption><thead><tr>{''.join(heads)}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _plain_heads(names: Sequence[str], numbers: Sequence[str] = ()) -> list[str]:
    return [
        f'<th scope="col"{_NUMBER if name in numbers else ""}>{escape(name)}</th>' for name in names
    ]


def disagreement_table(rows: pd.DataFrame, first: str, second: str) -> str:
    """Samples in the top of one score only: id, file, label, and first and second, their ranks."""
    if rows.empty:
        text = "These two scores call the same samples high-influence."
        return f'<div class="di-notice di-empty" role="status">{text}</div>'
    ranks = [f"rank by {first}", f"rank by {second}"]
    heads = [
        '<th scope="col"><input type="checkbox" data-di-pick-page aria-label="select this page"></th>',
        *_plain_heads(["picture", "file", "label"]),
        *_plain_heads(ranks, ranks),
    ]
    body = [
        f"<tr><td>{picker(row['id'], row['file'])}</td><td>{thumbnail(row['id'], row['label'])}</td>"
        f'<th scope="row" class="di-file-name" title="{escape(row["file"])}">{escape(row["file"])}</th>'
        f'<td>{escape(row["label"])}</td><td class="di-number">{row["first"]}</td>'
        f'<td class="di-number">{row["second"]}</td></tr>'
        for row in rows.to_dict("records")
    ]
    return _table("disagreement", heads, body)


def pairs_list(pairs: Sequence[tuple[dict[str, str], dict[str, str], float]]) -> str:
    """Near-duplicates side by side; each is (first, second, correlation), a picture being id, file, label."""
    items = []
    for first, second, alike in pairs:
        differ = first["label"] != second["label"]
        sides = "".join(
            f"<figure><label>{thumbnail(one['id'], one['label'])}{picker(one['id'], one['file'])}</label>"
            f"<figcaption><strong>{escape(one['label'])}</strong>"
            f'<span class="di-file-name" title="{escape(one["file"])}">{escape(one["file"])}</span>'
            "</figcaption></figure>"
            for one in (first, second)
        )
        mark = '<span class="di-mark di-differ">different labels</span>' if differ else ""
        both = f"{escape(first['id'])} {escape(second['id'])}"
        items.append(
            f'<li class="di-twins">{sides}<div>{mark}<span class="di-quiet">correlation {alike:.3f}'
            f'</span><button type="button" data-di-both="{both}" aria-label="select both, '
            f'{escape(first["file"])} and {escape(second["file"])}">Select both</button></div></li>'
        )
    return f'<ol class="di-twin-list">{"".join(items)}</ol>'


def _share(share: tuple[float, float, float] | None) -> str:
    if share is None:
        return '<td class="di-number">&ndash;</td>'
    p, low, high = (100 * v for v in share)
    return (
        f'<td class="di-number di-share" style="--p:{p:.1f}%" title="95 % Wilson interval">{p:.1f} % '
        f"<small>{low:.1f} to {high:.1f}</small></td>"
    )


def _number(value: float | None, form: str = ".4g") -> str:
    text = "&ndash;" if value is None or pd.isna(value) else format(value, form)
    return f'<td class="di-number">{text}</td>'


def groups_table(column: str, rows: pd.DataFrame) -> str:
    """What happens to each value of a column, as ``OpenRun.explore.subgroups`` gives it."""
    actions = [name for name in STATES if name in rows]
    numbers = ["samples", "high-influence", "mean score", "edited", "judge agrees after",
               "identity after"]  # fmt: skip
    heads = [*_plain_heads([column]), *_plain_heads(numbers, numbers), *_plain_heads(["decisions"])]
    body = []
    for row in rows.to_dict("records"):
        said = ", ".join(f"{row[a]} {a.replace('_', ' ')}" for a in actions if row[a]) or "none"
        body.append(
            f'<tr><th scope="row">{escape(row["value"]) or "(empty)"}</th>'
            f'<td class="di-number">{row["n"]}</td>{_share(row["high"])}{_number(row["mean_score"])}'
            f"{_share(row['edited'])}{_share(row['judge_agrees'])}{_number(row['identity'], '.4f')}"
            f"<td>{escape(said)}</td></tr>"
        )
    return f"<h4>{escape(column)}</h4>" + _table(f"subgroups by {column}", heads, body)
