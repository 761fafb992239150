"""Plots that no page draws in a test of its own."""

from __future__ import annotations

import pytest

from diffinf_core.report.plots import precision

PLANTED = {"tau": [1.0, 2.0], "value": [0.9, 0.8], "low": [0.5, 0.4], "high": [1.0, 0.9]}
REVIEWED = [{"tau": 10.0, "value": 0.6, "low": 0.5, "high": 0.8}]


def test_planted_errors_are_a_band_and_reviewers_points_with_their_intervals() -> None:
    high, low, value, points = precision(PLANTED, REVIEWED).data
    assert list(high.y) == [1, 0.9] and list(low.y) == [0.5, 0.4] and low.fill == "tonexty"
    assert list(value.x) == [1, 2] and list(value.y) == [0.9, 0.8]
    assert list(points.x) == [10] and list(points.y) == [0.6]
    assert points.error_y.array == pytest.approx([0.2])
    assert points.error_y.arrayminus == pytest.approx([0.1])


def test_one_of_the_two_is_drawn_alone_and_holds_its_points() -> None:
    assert [trace.name for trace in precision(PLANTED, []).data][-1] == "planted errors"
    alone = precision({}, REVIEWED)
    assert [trace.name for trace in alone.data] == ["reviewers"]
    assert alone.layout.xaxis.range[1] > 10
