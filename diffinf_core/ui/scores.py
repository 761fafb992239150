"""The figures of an edit as HTML: before and after, what each means, where it stands in the queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

from diffinf_core.records import Edit
from diffinf_core.ui import markup

_BINS = 16
#: a change below this is no change
SAME = 0.02
H_MEANING = "Predicted probability that the picture is among those that disturb training most."
CLASSIFIER = "trained on the labels as they are"


@dataclass(frozen=True)
class Measure:
    """One score: ``read`` gives (before, after) as text; ``column`` is its place in the queue."""

    name: str
    hint: Callable[[Edit], str]
    read: Callable[[Edit], tuple[str, str]]
    column: str = ""
    after: Callable[[Edit], float | None] = lambda _: None
    #: (before, after, whether more is better)
    verdict: Callable[[Edit], tuple[float, float, bool]] | None = None
    #: of two versions; None where neither is
    more_is_better: bool | None = None
    #: what a difference between versions is measured in
    scale: Callable[[Edit], float] = lambda _: 1.0


class Distributions:
    """Histograms of a table's columns of numbers, made once; ``of`` names the table in words."""

    def __init__(self, table: pd.DataFrame, of: str = "queue") -> None:
        self.table, self.of = table, of
        self._values: dict[str, np.ndarray] = {}
        for column in table.columns:
            if pd.api.types.is_numeric_dtype(table[column]):
                values = table[column].dropna().to_numpy(float)
                if len(values) > 1 and np.ptp(values) > 0:
                    self._values[column] = np.sort(values)

    def drawing(self, column: str, value: float | None) -> str:
        """A histogram with a line where ``value`` stands; empty where there is none."""
        values = self._values.get(column)
        if values is None or value is None or np.isnan(value):
            return ""
        counts, edges = np.histogram(values, _BINS)
        tall = counts / counts.max() * 16
        bars = "".join(
            f'<rect x="{i * 4}" y="{18 - t:.1f}" width="3" height="{t:.1f}"/>'
            for i, t in enumerate(tall)
            if t
        )
        at = float(np.clip((value - edges[0]) / (edges[-1] - edges[0]), 0, 1)) * (_BINS * 4 - 2)
        below = np.searchsorted(values, value) / len(values)
        text = f"higher than {below:.0%} of the {self.of}"
        return (
            f'<svg class="di-dist" viewBox="0 0 {_BINS * 4} 18" role="img" aria-label="{text}">'
            f'<title>{text}</title>{bars}<line x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="18"/></svg>'
        )


def _assigned(edit: Edit, classes: list[str]) -> int:
    return classes.index(edit.label)


def measures(classes: list[str], percentile: float) -> list[Measure]:
    """Every score of an edit; ``percentile`` is the original's self-influence among the training set."""

    def at(edit: Edit) -> int:
        return _assigned(edit, classes)

    return [
        Measure(
            "judge: assigned label",
            lambda e: (
                f"Probability of the assigned label by {e.judge_name}. It takes no part in a repair."
            ),
            lambda e: (f"{e.judge_before[at(e)]:.2f}", f"{e.judge_after[at(e)]:.2f}"),
            "judge_after",
            lambda e: e.judge_after[at(e)],
            lambda e: (e.judge_before[at(e)], e.judge_after[at(e)], True),
            more_is_better=True,
        ),
        Measure(
            "h (high influence)",
            lambda _: (
                f"{H_MEANING} The repair lowers it on purpose, so a low value alone proves nothing: look at "
                "the judge."
            ),
            lambda e: (f"{e.h_before:.2f}", f"{e.h_after:.2f}"),
            "h_after",
            lambda e: e.h_after,
            lambda e: (e.h_before, e.h_after, False),
            more_is_better=False,
        ),
        Measure(
            "self-influence",
            lambda _: (
                "How hard the picture pulls on the classifier in training (equation 5 of the paper), "
                "computed again for the edit. The original stands at percentile "
                f"{percentile:.1f} of the training set."
            ),
            lambda e: (f"{e.influence_before:.3g}", f"{e.influence_after:.3g}"),
            "influence_after",
            lambda e: e.influence_after,
            lambda e: (1.0, e.influence_after / max(e.influence_before, 1e-12), False),
            more_is_better=False,
            scale=lambda e: max(e.influence_before, 1e-12),
        ),
        Measure(
            "identity cosine",
            _identity_hint,
            _identity,
            "identity",
            lambda e: e.identity,
            more_is_better=True,
        ),
        Measure(
            "perceptual distance",
            lambda e: (
                f"{e.perceptual_name}. Before: the distance of the plain reconstruction, which no edit can "
                "undercut by much."
            ),
            lambda e: (f"reconstruction {e.perceptual_floor:.3f}", f"{e.perceptual:.3f}"),
            "perceptual",
            lambda e: e.perceptual,
            more_is_better=False,
            scale=lambda e: max(e.perceptual_floor, 1e-12),
        ),
        Measure(
            "SSIM",
            lambda _: "Structural similarity to the original.",
            lambda e: ("1.00", f"{e.ssim:.3f}"),
            "ssim",
            lambda e: e.ssim,
            more_is_better=True,
        ),
        Measure(
            "sharpness",
            lambda _: "Fine detail as a share of the original's; well below 1.00 is blur.",
            lambda e: ("1.00", _number(e.sharpness)),
            "sharpness",
            lambda e: e.sharpness,
        ),
        Measure(
            "changed area",
            _area_hint,
            lambda e: ("0%", "-" if e.changed_area is None else f"{e.changed_area:.0%}"),
            "changed_area",
            lambda e: e.changed_area,
        ),
        Measure(
            "strongest change",
            lambda _: (
                "Levels of 255 by which the lightness changes where it changes most. A label may ask for "
                "much of it; on sharp photographs spots and smears have more."
            ),
            lambda e: (
                "0",
                "-" if e.strongest_change is None else f"{e.strongest_change:.0f}",
            ),
            "strongest_change",
            lambda e: e.strongest_change,
        ),
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _identity(edit: Edit) -> tuple[str, str]:
    return ("1.00", "-" if edit.identity is None else f"{edit.identity:.3f}")


def _identity_hint(edit: Edit) -> str:
    beside = "strangers are near 0."
    if edit.identity_own is not None and edit.identity_stranger is not None:
        beside = (
            f"the person's own pictures have {edit.identity_own:.2f}, the nearest stranger "
            f"{edit.identity_stranger:.2f}."
        )
    return f"Same person as the original, by {edit.identity_name}; {beside}"


def _area_hint(edit: Edit) -> str:
    text = "Share of the pixels that changed visibly"
    if edit.changed_outside is not None:
        text += f"; of what is not the person {edit.changed_outside:.1%}"
    return text + "."


def _mark(verdict: tuple[float, float, bool]) -> str:
    before, after, more_is_better = verdict
    if abs(after - before) < SAME:
        return '<span class="di-mark">same</span>'
    better = (after > before) == more_is_better
    sign, word = ("▲" if after > before else "▼"), ("better" if better else "worse")
    return (
        f'<span class="di-mark di-{word}"><span aria-hidden="true">{sign}</span>'
        f'<span class="di-word"> {word}</span></span>'
    )


def flags(edit: Edit) -> str:
    """What the checks found, with the figures."""
    return "".join(
        f'<p class="di-flag"><strong>{escape(name)}</strong>: {escape(why)}</p>'
        for name, why in edit.flags.items()
    )


def explained(name: str, meaning: str) -> str:
    """A name that says what it means: under the pointer, and opened by a click or key."""
    text = escape(meaning)
    return (
        f'<details class="di-why"><summary title="{text}">{escape(name)}</summary>'
        f"<span>{text}</span></details>"
    )


def table(edit: Edit, classes: list[str], percentile: float, queue: Distributions) -> str:
    """The scores before and after, each with its meaning and its place among the queue's edits."""
    rows = []
    for measure in measures(classes, percentile):
        before, after = measure.read(edit)
        if after == "-":
            continue
        mark = _mark(measure.verdict(edit)) if measure.verdict else ""
        rows.append(
            f'<tr><th scope="row">{explained(measure.name, measure.hint(edit))}</th>'
            f"<td>{escape(before)}</td><td>{escape(after)}</td><td>{mark}</td>"
            f"<td>{queue.drawing(measure.column, measure.after(edit))}</td></tr>"
        )
    return (
        '<table class="di-scores"><thead><tr><th><span class="di-unseen">score</span></th>'
        '<th scope="col">before</th><th scope="col">after</th><th scope="col"><span class="di-unseen">'
        'change</span></th><th scope="col">in the queue</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _bar(value: float) -> str:
    return f'<span class="di-prob" style="--v:{value:.3f}">{value:.2f}</span>'


def probabilities(edit: Edit, classes: list[str]) -> str:
    """What judge and classifier see, class by class; the number is the key that relabels to it."""
    rows = [
        class_row(
            classes,
            i,
            edit.label,
            (
                edit.judge_before[i],
                edit.judge_after[i],
                edit.classifier_before[i],
                edit.classifier_after[i],
            ),
        )
        for i in range(len(classes))
    ]
    return (
        '<table class="di-scores di-classes"><thead><tr><th scope="col">class</th>'
        f'<th scope="col" colspan="2" title="{escape(edit.judge_name)}">judge, before and after</th>'
        f'<th scope="col" colspan="2" title="{CLASSIFIER}">classifier, before and after'
        f"</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def hidden(classes: Sequence[str], label: str) -> str:
    """What stands in the place of scores and probabilities in blind mode: the keys that relabel."""
    rows = "".join(class_row(classes, i, label, ()) for i in range(len(classes)))
    return (
        markup.notice("Blind mode: scores and predictions are shown once you decided.")
        + '<table class="di-scores di-classes"><thead><tr><th scope="col">class</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def class_row(classes: Sequence[str], at: int, label: str, values: Sequence[float]) -> str:
    """A class with its probabilities, and the key that relabels to it."""
    name = classes[at]
    digit = markup.relabel_key(classes, at) if name != label else ""
    key = f'<kbd title="relabel to {escape(name)}">{digit}</kbd> ' if digit else ""
    assigned = " di-assigned" if name == label else ""
    cells = "".join(f"<td>{_bar(value)}</td>" for value in values)
    return f'<tr class="di-class{assigned}"><th scope="row">{key}{escape(name)}</th>{cells}</tr>'
