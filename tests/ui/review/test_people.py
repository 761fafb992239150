"""What each reviewer did, and how far they agree, as words and tables."""

from __future__ import annotations

from typing import Any

from diffinf_core.ui.review.people import agreement_words, effort_table


def test_work_is_a_row_for_each_reviewer() -> None:
    row: dict[str, Any] = {"reviewer": "<ann>", "decisions": 1204, "by eye": 4, "in bulk": 1200,
                           "by rule": 0, "by program": 0, "blind": 3, "pace": 12.34}  # fmt: skip
    html = effort_table([row, {**row, "reviewer": "bob", "pace": None}])
    assert "&lt;ann&gt;" in html and "1,204" in html and "12.3" in html and "<td>-</td>" in html
    for name in ("by eye", "in bulk", "by rule", "by program", "blind", "pairs a minute"):
        assert f">{name}</th>" in html
    assert "Nobody has decided yet" in effort_table([])


def test_blind_opinions_have_a_table_of_their_own() -> None:
    row = {"a": "ann", "b": "bob", "n": 8, "agree": 0.75, "kappa": 0.5, "low": 0.1, "high": 0.9}
    found: dict[str, Any] = {"pairs": [row], "n": 8, "alpha": 0.5, "low": 0.1, "high": 0.9}
    none: dict[str, Any] = {"pairs": [], "n": 0, "alpha": None, "low": None, "high": None}
    assert "None of these pairs was judged in blind mode" in agreement_words(
        {**found, "blind": none}
    )
    html = agreement_words({**found, "blind": {**found, "n": 4}})
    assert html.count("ann and bob") == 2 and "In blind mode" in html
