"""Numbers that name groups and labels stand in the order of their values in every choice."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import pandas as pd

from diffinf_core.engine import View
from diffinf_core.ui.explore.filters import Filters
from diffinf_core.ui.filters import subgroups

VALUES = ["10", "2", "1", "img10", "img2"]
ORDER = ["1", "2", "10", "img2", "img10"]


def test_the_subgroup_filter_of_the_review() -> None:
    queue = pd.DataFrame({"group": VALUES, "by_camera": VALUES, "label": VALUES})
    assert subgroups(queue) == [f"{c} = {v}" for c in ("group", "camera") for v in ORDER]


def test_the_group_filter_of_explore() -> None:
    samples = SimpleNamespace(groups=pd.DataFrame({"label": VALUES, "camera": VALUES}))
    measures = SimpleNamespace(table=lambda: None)
    explore = SimpleNamespace(samples=lambda: samples, measures=measures)
    classes, tags = SimpleNamespace(classes=ORDER), SimpleNamespace(counts=dict)
    run = SimpleNamespace(explore=explore, training=classes, tags=tags)
    with gr.Blocks():
        part: Any = Filters(cast(Any, SimpleNamespace(run=run)))
    part.measures = lambda: [None] * 4
    labels, groups, *_ = part.choices(*Filters.values(View()))
    assert [value for _, value in groups["choices"][1:]] == [
        json.dumps(["camera", value]) for value in ORDER
    ]
    assert [value for _, value in labels["choices"][1:]] == ORDER
