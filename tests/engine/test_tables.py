"""One cache for a run: nothing is read twice under one key, and a decision never waits for it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from diffinf_core.correction.edits import load_edit
from diffinf_core.correction.stage import REPAIR
from diffinf_core.engine import OpenRun, open_run, tables
from diffinf_core.records import DiffInfError
from diffinf_core.report import summary
from diffinf_core.review import queue


@pytest.fixture
def run(run_copy: Path) -> OpenRun:
    """An opened run of one's own."""
    return open_run(str(run_copy))


def counted(monkeypatch: pytest.MonkeyPatch, where: object, name: str) -> list[int]:
    """Count the calls of a function of a module."""
    calls: list[int] = []
    real = getattr(where, name)
    monkeypatch.setattr(where, name, lambda *a, **k: calls.append(1) or real(*a, **k))
    return calls


def test_everybody_gets_the_one_queue(run: OpenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    built = counted(monkeypatch, tables, "build_queue")
    queue = run.queue
    assert run.queue is queue and list(queue.index) == list(queue["id"])
    run.review.row(str(queue.index[0]))
    run.review.rule()
    run.review.bulk_preview(list(queue.index), "keep")
    run.explore.subgroups()
    assert len(built) == 1


def test_a_new_version_of_an_edit_makes_no_new_queue(
    run: OpenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = run.queue
    list(run.repair.edit(str(queue.index[0]), {"steps": 2}))
    built = counted(monkeypatch, tables, "build_queue")
    monkeypatch.setattr(tables, "_FRESH", 0.0)
    run.review.decide(str(queue.index[0]), "keep", "ann")
    assert run.queue is queue and not built


def test_the_report_reads_edits_and_scores_once(
    run: OpenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run.report()
    assert first == open_run(run.folder.root).report()
    edits = counted(monkeypatch, summary, "load_edit")
    scores = counted(monkeypatch, summary, "read_scores")
    run.review.decide(str(run.training.ids[0]), "drop", "ann")
    again = run.report()
    assert not edits and not scores
    assert again["review"]["dropped"] == 1, "decisions are counted anew"
    follow = {"review", "subgroups"}
    for name in first.keys() - follow:
        assert again[name] == first[name], name


def test_score_tables_are_read_once(run: OpenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    read = counted(monkeypatch, tables, "read_scores")
    more = counted(monkeypatch, summary, "read_scores")
    run.ranking()
    run.ranking("aum")
    run.explore.samples()
    run.explore.scores.agreement()
    run.explore.scores.quality()
    run.report()
    assert len(read) + len(more) == 1


def test_nothing_to_review_is_one_sentence(tmp_path: Path, tiny_config) -> None:
    run = open_run(tmp_path / "new", tiny_config)
    for ask in (lambda: run.queue, run.queue_key, lambda: run.review.row("0" * 12)):
        with pytest.raises(
            DiffInfError, match="Nothing to review yet: start the run on the Run page"
        ):
            ask()


def test_a_report_of_a_run_opened_anew_reads_no_edit_but_one(
    run: OpenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its names of networks come from the first record, all figures from the rows of the queue."""
    first = run.report()
    rows = counted(monkeypatch, queue, "load_edit")
    records = counted(monkeypatch, summary, "load_edit")
    assert open_run(run.folder.root).report() == first
    assert not rows and len(records) == 1


def test_the_figures_of_the_repair_are_those_of_its_edits(run: OpenRun) -> None:
    versions = json.loads((REPAIR.folder(run.folder) / "versions.json").read_text())
    edits = [load_edit(run.folder, s, v) for s, v in versions.items()]
    figures, classes = run.report()["repair"], list(run.training.classes)
    after = [classes[int(np.argmax(e.judge_after))] == e.label for e in edits]
    assert figures["judge_agreement_after"] == np.mean(after)
    for name in classes:
        own = [a for a, e in zip(after, edits, strict=True) if e.label == name]
        assert figures["judge_agreement_by_class"][name] == (np.mean(own) if own else None)
    assert figures["lpips_floor"] == np.mean([e.perceptual_floor for e in edits])
    assert figures["h_after"] == np.mean([e.h_after for e in edits])
    assert figures["identity_mean"] == np.mean(
        [e.identity for e in edits if e.identity is not None]
    )
    assert figures["flagged"] == dict(Counter(name for e in edits for name in e.flags))
    assert figures["identity_network"] == edits[0].identity_name
