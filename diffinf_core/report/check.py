"""The check of a data set as a page, of its own or within the app."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from diffinf_core.data.check import Checked, Example, Finding
from diffinf_core.report.page import page
from diffinf_core.weights.files import assets_folder

#: what the app's own style sheet gives to the colours of the check
_COLOURS = """
:root { --di-ink: #1f2733; --di-line: #d8dde6; --di-soft: #f4f5f8; --di-accent: #b84a10; --di-bad: #a31621;
  --di-good: #1a6e3c; }
@media (prefers-color-scheme: dark) { :root { --di-ink: #e8ebf0; --di-line: #3a4352; --di-soft: #1c222c;
  --di-accent: #f0a070; --di-bad: #ff9a9a; --di-good: #7fd6a0; } }
"""
_BADGES = {"refused": "stops a run", "warning": "look at this", "note": "note"}


def check_page(checked: Checked) -> str:
    """A whole page that holds its pictures and fetches nothing."""
    style = _COLOURS + (assets_folder() / "ui" / "check.css").read_text("utf-8")
    body = f"<style>{style}</style>{check_body(checked)}"
    return page(f"DiffInf: check of {checked.name}", "Check of a data set", body, [])


def check_body(checked: Checked) -> str:
    """The check as HTML: whether a run would begin, the pictures by class and split, and every finding."""
    return (
        f'<div class="di-check">{_verdict(checked)}{_classes(checked)}{_sheet(checked.examples)}'
        f"{''.join(map(_finding, checked.findings))}{_figures(checked)}</div>"
    )


def verdict(checked: Checked) -> str:
    """One sentence: whether a run would begin."""
    n, problems = checked.readable, len(checked.problems)
    words = (
        f"{n:,} readable picture{'' if n == 1 else 's'} in {len(checked.listing.classes):,} classes"
    )
    if problems:
        return f"A run refuses this data set for {problems:,} problem{'' if problems == 1 else 's'}; {words}."
    warnings = sum(finding.level == "warning" for finding in checked.findings)
    look = f" {warnings} thing{'' if warnings == 1 else 's'} to look at." if warnings else ""
    return f"A run can begin: {words}.{look}"


def _verdict(checked: Checked) -> str:
    kind = "refused" if checked.problems else "fine"
    return (
        f'<p class="di-check-verdict di-check-{kind}">{escape(verdict(checked))}</p>'
        f"<p>{escape(checked.name)}, taken for {escape(checked.listing.taken_for)}.</p>"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    titles = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(c)}</td>" for c in cells)}</tr>'
        for first, *cells in rows
    )
    return (
        f'<div class="di-check-wide" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _classes(checked: Checked) -> str:
    names = {"train": "training", "val": "validation", "test": "test", "": "left out"}
    parts = list(dict.fromkeys(part for row in checked.classes.values() for part in row))
    rows = [
        (name, *(f"{row.get(p, 0):,}" for p in parts), f"{sum(row.values()):,}")
        for name, row in checked.classes.items()
    ]
    head = ("class", *(names[part] for part in parts), "all")
    out = _table(head, rows, "Pictures of each class, as a run would split them") if rows else ""
    if checked.groups:
        largest = f"the largest has {checked.largest_group:,} pictures"
        out += f"<p>{checked.groups:,} groups stay whole; {largest}.</p>"
    return out


def _picture(example: Example) -> str:
    caption = escape(example.caption)
    if not example.jpeg:
        none = '<span class="di-check-none">no picture</span>'
        return f"<figure>{none}<figcaption>{caption}</figcaption></figure>"
    uri = "data:image/jpeg;base64," + base64.b64encode(example.jpeg).decode()
    return (
        f'<figure><img src="{uri}" alt="{caption}" width="96" height="96">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _sheet(examples: Mapping[str, Sequence[Example]]) -> str:
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{''.join(map(_picture, pictures))}</dd>"
        for name, pictures in examples.items()
        if pictures
    )
    summary = "<summary>Pictures of each class</summary>"
    if not rows:
        return ""
    return f'<details class="di-check-sheet" open>{summary}<dl>{rows}</dl></details>'


def _finding(finding: Finding) -> str:
    count = f": {finding.count:,}" if finding.count else ""
    rows = "".join(
        f'<div class="di-check-row">{"".join(map(_picture, row))}</div>' for row in finding.examples
    )
    lines = "".join(f"<li>{escape(line)}</li>" for line in finding.lines)
    more = finding.count - len(finding.lines)
    named = f"Named: {len(finding.lines):,}" + (f" of {finding.count:,}" if more > 0 else "")
    listed = f"<details><summary>{named}</summary><ul>{lines}</ul></details>" if lines else ""
    action = f"<p>{escape(finding.action)}</p>" if finding.action else ""
    return (
        f'<section class="di-check-finding di-check-{finding.level}"><h3>{escape(finding.title + count)} '
        f"<small>{_BADGES[finding.level]}</small></h3>{action}{rows}{listed}</section>"
    )


def _figures(checked: Checked) -> str:
    sizes = [(f"{w:,} x {h:,}", f"{n:,}") for (w, h), n in checked.sizes.items()]
    kinds = [(name, f"{n:,}") for name, n in checked.kinds.items()]
    left = checked.readable - sum(checked.sizes.values())
    if left:
        sizes.append(("other sizes", f"{left:,}"))
    return (
        '<div class="di-check-figures">'
        + (_table(("width x height", "pictures"), sizes, "Sizes as stored") if sizes else "")
        + (
            _table(("format and mode", "pictures"), kinds, "Formats and pixel modes")
            if kinds
            else ""
        )
        + "</div>"
    )
