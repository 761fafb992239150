"""Plotly figures of a comparison: differences with intervals, confusions, calibration, courses."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd
from plotly import graph_objects as go
from plotly import subplots

from diffinf_core.experiments.comparison import Comparison, calibration, confusion
from diffinf_core.report.plots import ACCENT, MUTED, colour_of, styled
from diffinf_core.report.verdict import TITLES, form

# the ends and the middle carry white figures on light and on dark pages
_SHARES = [[0, "#4a5568"], [1, ACCENT]]
_CHANGES = [[0, "#2f6690"], [0.5, "#4a5568"], [1, ACCENT]]
_SHOWN = ("accuracy", "auroc", "kappa_linear", "ece")
_COURSES = {
    "val_accuracy": "accuracy on validation",
    "train_agreement": "fits its training labels",
    "train_loss": "training loss",
}


def _whiskers(
    figure: go.Figure, part: pd.DataFrame, y: Sequence[str], names: str, **place: int
) -> None:
    """Differences as dots with their intervals; hollow where the interval holds 0."""
    scales = [form(s, n)[0] for s, n in zip(part["section"], part["name"], strict=True)]
    found, low, high = (part[k].to_numpy(float) * scales for k in ("difference", "low", "high"))
    colours = [colour_of(str(a)) for a in part["arm"]]
    sure = (low > 0) | (high < 0)
    figure.add_scatter(
        x=found,
        y=list(y),
        mode="markers",
        name=names,
        error_x={
            "array": np.nan_to_num(high - found),
            "arrayminus": np.nan_to_num(found - low),
            "color": MUTED,
            "thickness": 1.5,
        },
        marker={
            "size": 10,
            "color": colours,
            "symbol": ["circle" if s else "circle-open" for s in sure],
            "line": {"width": 2, "color": colours},
        },
        customdata=np.stack([low, high, part["n"]], 1),
        hovertemplate="%{y}: %{x:+.2f} (%{customdata[0]:+.2f} to %{customdata[1]:+.2f}), "
        "%{customdata[2]} pictures<extra></extra>",
        **place,
    )
    figure.add_vline(x=0, line_color=MUTED, line_dash="dot", **place)


def gains(table: pd.DataFrame, against: str) -> go.Figure:
    """The difference of each arm to ``against`` in four metrics, with intervals."""
    figure = subplots.make_subplots(
        1, len(_SHOWN), shared_yaxes=True, subplot_titles=[TITLES[m] for m in _SHOWN]
    )
    others = table[(table["section"] == "metric") & (table["arm"] != against)]
    for i, metric in enumerate(_SHOWN, 1):
        part = others[others["name"] == metric]
        _whiskers(figure, part, part["arm"].tolist(), metric, row=1, col=i)
    height = 130 + 34 * max(2, others["arm"].nunique())
    figure = styled(
        figure, f"Difference to {against}; filled where the interval excludes 0", height
    )
    figure.update_yaxes(autorange="reversed")
    return figure.update_layout(margin={"l": 84, "r": 16, "t": 78, "b": 32})


def parts(
    table: pd.DataFrame, arm: str, against: str, sections: Sequence[str], title: str
) -> go.Figure:
    """The difference of one arm to another in each class or subgroup, a panel per section."""
    figure = subplots.make_subplots(
        1, len(sections), subplot_titles=[escape(s) for s in sections], horizontal_spacing=0.12
    )
    most = 1
    for i, section in enumerate(sections, 1):
        part = table[(table["section"] == section) & (table["arm"] == arm)]
        names = [f"{escape(str(n))} ({k})" for n, k in zip(part["name"], part["n"], strict=True)]
        most = max(most, len(part))
        _whiskers(figure, part, names, section, row=1, col=i)
    figure = styled(figure, f"{title}: {arm} less {against}, points", 130 + 30 * max(2, most))
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure.update_layout(margin={"l": 16, "r": 16, "t": 78, "b": 32})


def confusions(c: Comparison, arm: str, against: str) -> go.Figure:
    """Row-normalised confusion of two arms and their difference; counts when pointed at."""
    counts = [confusion(c, name) for name in (against, arm)]
    shares = [k / k.sum(1, keepdims=True) for k in counts]
    panels = [
        (against, shares[0], counts[0], _SHARES, (0, 1), "{:.0%}"),
        (arm, shares[1], counts[1], _SHARES, (0, 1), "{:.0%}"),
        (
            f"{arm} less {against}, points",
            shares[1] - shares[0],
            counts[1] - counts[0],
            _CHANGES,
            (-0.3, 0.3),
            "{:+.1f}",
        ),
    ]
    figure = subplots.make_subplots(
        1, 3, subplot_titles=[p[0] for p in panels], shared_yaxes=True, horizontal_spacing=0.03
    )
    names = [escape(k) for k in c.classes]
    for i, (_, share, count, colours, (low, high), style) in enumerate(panels, 1):
        by = 100 if i == 3 else 1
        figure.add_heatmap(
            z=share,
            x=names,
            y=names,
            zmin=low,
            zmax=high,
            colorscale=colours,
            showscale=False,
            text=[[style.format(by * v) for v in row] for row in share],
            texttemplate="%{text}",
            textfont={"color": "white"},
            customdata=count,
            hovertemplate="%{y} taken for %{x}: %{text}, %{customdata:.1f} pictures<extra></extra>",
            row=1,
            col=i,
        )
    figure = styled(figure, "What each class is taken for, share of its row, mean over seeds", 380)
    figure.update_xaxes(title="said")
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_yaxes(title="label", col=1)
    return figure.update_layout(margin={"l": 16, "r": 16, "t": 84, "b": 60})


def reliability(c: Comparison, arm: str, against: str) -> go.Figure:
    """Accuracy by confidence for two arms, with the number of predictions in each bin below."""
    both = (against, arm)
    figure = subplots.make_subplots(
        2,
        2,
        row_heights=[0.72, 0.28],
        shared_xaxes=True,
        vertical_spacing=0.06,
        subplot_titles=both,
    )
    at = c.measured.index("metric", "ece")
    for i, name in enumerate(both, 1):
        table = calibration(c, name)
        middle = (table["from"] + table["to"]) / 2
        width = float(table["to"][0] - table["from"][0])
        figure.add_scatter(
            x=[0, 1], y=[0, 1], mode="lines", line={"color": MUTED, "dash": "dot"}, row=1, col=i
        )
        figure.add_scatter(
            x=table["confidence"],
            y=table["accuracy"],
            mode="lines+markers",
            name=name,
            line={"color": colour_of(name)},
            customdata=table["n"],
            hovertemplate="confidence %{x:.2f}, right %{y:.1%}, %{customdata} predictions<extra></extra>",
            row=1,
            col=i,
        )
        figure.add_bar(
            x=middle,
            y=table["n"],
            width=width,
            marker_color=colour_of(name),
            hovertemplate="%{y} predictions<extra></extra>",
            row=2,
            col=i,
        )
        figure.layout.annotations[
            i - 1
        ].text = f"{name}: calibration error {100 * c.measured.value(name, at):.1f} %"
    figure = styled(figure, "Calibration: on the dotted line confidence is what it says", 430)
    figure.update_xaxes(range=[0, 1])
    figure.update_xaxes(title="confidence", row=2)
    figure.update_yaxes(range=[0, 1], row=1)
    figure.update_yaxes(title="right", row=1, col=1)
    figure.update_yaxes(title="predictions", row=2, col=1)
    return figure.update_layout(bargap=0, margin={"l": 64, "r": 16, "t": 84, "b": 52})


def courses(history: pd.DataFrame) -> go.Figure:
    """What was noted after each epoch of each arm: mean over seeds, and a band of one deviation."""
    keys = [k for k in _COURSES if k in history and history[k].notna().any()]
    figure = subplots.make_subplots(
        1, max(1, len(keys)), subplot_titles=[_COURSES[k] for k in keys]
    )
    for i, key in enumerate(keys, 1):
        for arm, part in history.groupby("arm", sort=False):
            by_epoch = part.groupby("epoch")[key]
            mean, sd = by_epoch.mean(), by_epoch.std(ddof=1).fillna(0)
            epochs, colour = list(mean.index), colour_of(str(arm))
            figure.add_scatter(
                x=[*epochs, *epochs[::-1]],
                y=[*(mean + sd), *(mean - sd)[::-1]],
                fill="toself",
                fillcolor=colour,
                opacity=0.15,
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
                legendgroup=str(arm),
                row=1,
                col=i,
            )
            figure.add_scatter(
                x=epochs,
                y=mean,
                mode="lines",
                name=str(arm),
                line={"color": colour},
                legendgroup=str(arm),
                showlegend=i == 1,
                hovertemplate=f"{arm}, epoch %{{x}}: %{{y:.3f}}<extra></extra>",
                row=1,
                col=i,
            )
    figure = styled(figure, "Retraining, mean and deviation over seeds", 380)
    figure.update_xaxes(title="epoch")
    return figure.update_layout(
        showlegend=True,
        legend={"orientation": "h", "y": -0.25},
        margin={"l": 48, "r": 16, "t": 78, "b": 60},
    )
