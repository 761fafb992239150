"""Plotly figures of a run; each takes plain figures and draws one thing."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

#: both can be read on white and on a dark page
ACCENT, MUTED = "#c2571a", "#6e7889"
_COLOURS = {
    "noisy": MUTED,
    "removal": "#4f7cac",
    "repaired": ACCENT,
    "reviewed": "#7a9e3f",
    "relabelled": "#9a6fb0",
    "clean": "#2a9d8f",
}
_OTHERS = ("#b5475d", "#b08900", "#3f88c5", "#6a8d73", "#8f5fd0", "#a0694b")


def colour_of(arm: str) -> str:
    """The colour of an arm on every figure."""
    return _COLOURS.get(arm, _OTHERS[sum(arm.encode()) % len(_OTHERS)])


def styled(figure: go.Figure, title: str, height: int = 340) -> go.Figure:
    """The look of every figure."""
    figure.update_layout(
        title={"text": title, "font": {"size": 15}},
        height=height,
        margin={"l": 56, "r": 16, "t": 48, "b": 48},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": MUTED},
        showlegend=False,
    )
    figure.update_xaxes(gridcolor="rgba(138,148,166,0.25)", zeroline=False)
    figure.update_yaxes(gridcolor="rgba(138,148,166,0.25)", zeroline=False)
    return figure


def signals(by_signal: dict[str, dict[str, float]]) -> go.Figure:
    """Average precision of each score for finding the injected wrong labels, best on top."""
    names = sorted(by_signal, key=lambda n: by_signal[n]["average_precision"])
    values = [by_signal[n]["average_precision"] for n in names]
    bars = go.Bar(
        x=values,
        y=[n.replace("_", " ") for n in names],
        orientation="h",
        marker_color=ACCENT,
        text=[f"{v:.2f}" for v in values],
    )
    figure = go.Figure(bars)
    figure.update_xaxes(title="average precision", range=[0, 1])
    figure = styled(figure, "Which score finds the wrong labels")
    return figure.update_layout(margin={"l": 140, "r": 16, "t": 48, "b": 48})


def precision(planted: dict[str, Any], reviewed: list[dict[str, Any]]) -> go.Figure:
    """Estimated precision over tau in per cent, with 95 % intervals: by planted errors, and by reviewers.

    ``planted`` and ``reviewed`` are curves of :mod:`diffinf_core.report.precision`; either may be empty.
    """
    figure = go.Figure()
    if planted:
        ends = {"x": planted["tau"], "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
        figure.add_scatter(y=planted["high"], showlegend=False, **ends)
        figure.add_scatter(
            y=planted["low"], fill="tonexty", fillcolor="rgba(194,87,26,0.18)",
            name="95 % interval", **ends,
        )  # fmt: skip
        figure.add_scatter(
            x=planted["tau"], y=planted["value"], mode="lines", name="planted errors",
            line={"color": ACCENT},
        )  # fmt: skip
    if reviewed:
        value = [row["value"] for row in reviewed]
        figure.add_scatter(
            x=[row["tau"] for row in reviewed],
            y=value,
            mode="markers",
            name="reviewers",
            marker={"color": _COLOURS["removal"], "size": 9},
            error_y={
                "symmetric": False,
                "array": [row["high"] - v for row, v in zip(reviewed, value, strict=True)],
                "arrayminus": [v - row["low"] for row, v in zip(reviewed, value, strict=True)],
            },
        )
    figure.update_xaxes(
        title="tau, %", range=[0, 101 if planted else max(row["tau"] for row in reviewed) + 2]
    )
    figure.update_yaxes(title="precision", range=[0, 1.02])
    figure = styled(figure, "Estimated precision of the top tau %")
    return figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.28})


def training_curve(curve: list[dict[str, Any]], chosen: list[int]) -> go.Figure:
    """Losses and fit by epoch, with a mark at each checkpoint that the score sums over."""
    epochs = [row["epoch"] for row in curve]
    lines = (
        ("train_agreement", "fits the assigned training labels", ACCENT, "solid"),
        ("val_accuracy", "accuracy on validation", _COLOURS["reviewed"], "solid"),
        ("val_loss", "validation loss", _COLOURS["removal"], "dot"),
    )
    figure = go.Figure()
    for key, name, colour, dash in lines:
        if key in curve[0]:
            values = [row[key] for row in curve]
            line = {"color": colour, "dash": dash}
            figure.add_scatter(x=epochs, y=values, mode="lines", name=name, line=line)
    agreement_at = {row["epoch"]: row["train_agreement"] for row in curve}
    figure.add_scatter(
        x=chosen,
        y=[agreement_at[e] for e in chosen],
        mode="markers",
        name="checkpoints used",
        marker={"color": ACCENT, "size": 9},
    )
    figure.update_xaxes(title="epoch", dtick=max(1, len(curve) // 12))
    figure.update_yaxes(rangemode="tozero")
    figure = styled(figure, "Training, and the checkpoints that the score sums over")
    return figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.28})


def estimators_agree(shared: pd.DataFrame) -> go.Figure:
    """Which part of its top tau % each estimator shares with each other one."""
    names = [n.replace("_", " ") for n in shared.columns]
    values = shared.to_numpy()
    heat = go.Heatmap(
        z=values,
        x=names,
        y=names,
        zmin=0,
        zmax=1,
        # both ends carry white figures on light and on dark pages
        colorscale=[[0, "#4a5568"], [1, ACCENT]],
        textfont={"color": "white"},
        showscale=False,
        text=[[f"{v:.2f}" for v in row] for row in values],
        texttemplate="%{text}",
        hovertemplate="%{y} and %{x} share %{z:.0%}<extra></extra>",
    )
    figure = styled(go.Figure(heat), "How much of the top tau % the scores share")
    figure.update_yaxes(autorange="reversed")
    return figure.update_layout(margin={"l": 120, "r": 16, "t": 48, "b": 72})


def agreement(repair: dict[str, Any]) -> go.Figure:
    """Share of edits that the independent judge gives their assigned label, by class."""
    by_class = {k: v for k, v in repair["judge_agreement_by_class"].items() if v is not None}
    bars = go.Bar(
        x=list(by_class),
        y=list(by_class.values()),
        marker_color=ACCENT,
        text=[f"{v:.2f}" for v in by_class.values()],
    )
    figure = go.Figure(bars)
    figure.update_yaxes(range=[0, 1], title="judge agrees")
    return styled(figure, "The independent judge sees the assigned label in the edit")
