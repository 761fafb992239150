"""The figures of a picture without an edit as HTML: its scores within the training set, and each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from diffinf_core.engine import ESTIMATORS
from diffinf_core.records import Prediction
from diffinf_core.ui import scores


def table(
    seen: Prediction,
    values: Mapping[str, float],
    classes: Sequence[str],
    training: scores.Distributions,
) -> str:
    """The figures of a picture without an edit: its scores within the training set, and each class."""
    named = [(name, ESTIMATORS[name].title, ESTIMATORS[name].meaning) for name in values]
    rows = [
        f'<tr><th scope="row">{scores.explained(title, meaning + ".")}</th><td>{values[name]:.3g}</td>'
        f"<td>{training.drawing(name, values[name])}</td></tr>"
        for name, title, meaning in named
    ]
    h = scores.explained("h (high influence)", scores.H_MEANING)
    rows.append(f'<tr><th scope="row">{h}</th><td>{seen.h:.2f}</td><td></td></tr>')
    by_class = "".join(
        scores.class_row(classes, i, seen.label, (seen.judge[i], seen.classifier[i]))
        for i in range(len(classes))
    )
    return (
        '<table class="di-scores"><thead><tr><th><span class="di-unseen">score</span></th>'
        '<th scope="col">value</th><th scope="col">in the training set</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
        '<table class="di-scores di-classes"><thead><tr><th scope="col">class</th>'
        f'<th scope="col" title="{escape(seen.judge_name)}">judge</th>'
        f'<th scope="col" title="{scores.CLASSIFIER}">classifier</th></tr></thead>'
        f"<tbody>{by_class}</tbody></table>"
    )
