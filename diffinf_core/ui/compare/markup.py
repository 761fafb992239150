"""HTML of the Compare page: tables of figures, and the pictures that two arms disagree on."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import pandas as pd

from diffinf_core.ui import markup


def _cell(text: str, head: bool) -> str:
    value, *more = text.split("\n")
    tag, scope = ("th", ' scope="row"') if head else ("td", "")
    verdict = next((v for v in ("better", "worse") if more and more[0].endswith(f" {v}")), "open")
    lines = "".join(f'<span class="di-change di-{verdict}">{escape(line)}</span>' for line in more)
    return f"<{tag}{scope}>{escape(value)}{lines}</{tag}>"


def table(shown: pd.DataFrame, caption: str) -> str:
    """A table of text whose first column names the rows; further lines of a cell are its difference."""
    if shown.empty:
        return ""
    head = "".join(f'<th scope="col">{escape(str(c))}</th>' for c in shown.columns)
    rows = "".join(
        f"<tr>{''.join(_cell(str(text), i == 0) for i, text in enumerate(row))}</tr>"
        for row in shown.itertuples(index=False, name=None)
    )
    return (
        f'<div class="di-wide" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="di-figures"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def sentences(reading: str, warnings: Sequence[str]) -> str:
    """What the figures say, and each warning in a box of its own."""
    return markup.notice(reading) + "".join(markup.notice(text, "error") for text in warnings)


def cards(
    shown: pd.DataFrame, pictures: Sequence[bytes], arm: str, against: str, seeds: int
) -> str:
    """A picture per row of the engine's table of changed samples, with what both arms say of it."""

    def says(who: str, name: str, row: pd.Series) -> str:
        return (
            f"<dt>{escape(name)}: {escape(str(row[f'says_{who}']))}</dt><dd>{row[f'p_{who}']:.2f} for "
            f"{escape(str(row['label']))}, right in {row[f'right_{who}']} of {seeds} seeds</dd>"
        )

    out = []
    for (_, row), picture in zip(shown.iterrows(), pictures, strict=True):
        uri = "data:image/png;base64," + base64.b64encode(picture).decode()
        out.append(
            f'<li class="di-card"><img alt="test picture, labelled {escape(str(row["label"]))}" '
            f'src="{uri}"><div><strong>label {escape(str(row["label"]))}</strong><dl>'
            f"{says('arm', arm, row)}{says('against', against, row)}</dl>"
            f"<code>{escape(str(row['id']))}</code></div></li>"
        )
    return f'<ul class="di-cards">{"".join(out)}</ul>'
