"""What networks see in a picture without an edit is what an edit records of its original."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from diffinf_core.correction.originals import Originals
from diffinf_core.engine import open_run
from diffinf_core.records import DiffInfError, Prediction


def test_a_prediction_is_what_an_edit_says_of_its_original(finished_run: Path) -> None:
    run = open_run(finished_run)
    for sample, version in run.queue["version"].iloc[:3].items():
        edit, seen = run.pictures.record(sample, version), run.predictions.of(sample)
        assert seen.judge == pytest.approx(edit.judge_before, abs=1e-5)
        assert seen.classifier == pytest.approx(edit.classifier_before, abs=1e-5)
        assert seen.h == pytest.approx(edit.h_before, abs=1e-5)
        assert seen.label == edit.label and seen.judge_name == edit.judge_name
        assert run.predictions.of(sample) is seen, "looked at once"
    with pytest.raises(DiffInfError, match="no training sample"):
        run.predictions.of("0" * 12)


def test_what_is_known_does_not_wait_for_a_computation(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(finished_run)
    ids = [str(sample) for sample in run.queue["id"][:2]]
    known = run.predictions.of(ids[0])
    at, go = threading.Event(), threading.Event()
    predict = Originals.predict

    def slow(self: Originals, sample: str) -> Prediction:
        at.set()
        go.wait(60)
        return predict(self, sample)

    monkeypatch.setattr(Originals, "predict", slow)
    with ThreadPoolExecutor(2) as threads:
        other = threads.submit(run.predictions.of, ids[1])
        try:
            assert at.wait(60)
            assert threads.submit(run.predictions.of, ids[0]).result(30) is known
            assert not other.done()
        finally:
            go.set()


def test_every_score_of_a_sample_is_the_tables(finished_run: Path) -> None:
    run = open_run(finished_run)
    samples = run.explore.samples()
    for at in (0, len(samples) - 1):
        known = run.predictions.scores(str(samples.table["id"].iloc[at]))
        assert known == samples.scores.iloc[at].to_dict()


def test_an_edit_that_was_made_speaks_in_the_place_of_the_picture(finished_run: Path) -> None:
    run = open_run(finished_run)
    row = run.queue.iloc[0]
    edit = run.pictures.record(str(row["id"]), str(row["version"]))
    action, new_label, reason = run.predictions.suggestion(edit.sample, edit)
    assert (action, reason) == (row["suggestion"], row["reason"])
    assert new_label == (row["judge_class_before"] if action == "relabel" else "")
