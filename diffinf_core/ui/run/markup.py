"""HTML of the Run page: the data set at a glance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import pandas as pd

from diffinf_core.ui.compare import markup as compare_markup


def glance(found: Mapping[str, Any], address: Callable[[str], str]) -> str:
    """The data set: name, sizes, classes, noise, and a few pictures; ``address`` gives that of a sample."""
    classes = pd.DataFrame(found["classes"]).rename(columns={"name": "class"})
    total = classes[["train", "val", "test"]].sum()
    rows = [
        *classes.itertuples(index=False, name=None),
        ("all", total["train"], total["val"], total["test"]),
    ]
    shown = pd.DataFrame(
        [[str(row[0]), *(f"{n:,}" for n in row[1:])] for row in rows],
        columns=["class", "training", "validation", "test"],
    )
    noise = found["noise"]
    said = [f"{found['name']}, {found['size']} x {found['size']} pixels."]
    if found["round"] > 1:
        said.append(f"Round {found['round']}.")
    if noise is None:
        said.append("Labels as they came; how many are wrong is not known.")
    else:
        said.append(f"{noise:.1%} of the training labels are known to be wrong.")
    if found["unlabelled"]:
        said.append(f"{found['unlabelled']:,} pictures have no label and are left out.")
    sheet = "".join(
        f"<dt>{escape(name)}</dt><dd>{''.join(_picture(address(i), name) for i in ids)}</dd>"
        for name, ids in found["sheet"].items()
    )
    return (
        f'<div class="di-glance"><div><p>{escape(" ".join(said))}</p>'
        f"{compare_markup.table(shown, 'Pictures of each class by split')}</div>"
        f'<dl class="di-sheet">{sheet}</dl></div>'
    )


def _picture(address: str, label: str) -> str:
    alt = escape(f"training picture, labelled {label}")
    return f'<img src="{escape(address)}" alt="{alt}" width="64" height="64" loading="lazy">'
