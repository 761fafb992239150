"""A job ends whatever happens in it, so that the next one can begin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from diffinf_core.records import DiffInfError, Progress
from diffinf_core.ui.jobs import Jobs


def quick() -> Iterator[Progress]:
    yield Progress("quick", 1, 1)


def test_a_job_whose_clearing_up_fails_has_failed_and_blocks_nobody(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def work() -> Iterator[Progress]:
        try:
            for i in range(1000):
                yield Progress("work", i, 1000)
        finally:
            raise OSError("the folder is gone")

    jobs = Jobs()
    jobs.start("work", work)
    jobs.cancel()
    jobs.wait(30)
    found = jobs.snapshot()
    assert found.state == "failed" and "OSError" in found.error
    assert "the folder is gone" in capsys.readouterr().err
    jobs.start("quick", quick)
    jobs.wait(30)
    assert jobs.snapshot().state == "done"


def test_a_job_whose_workers_cannot_be_reached_has_failed_and_blocks_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreachable() -> None:
        raise DiffInfError("Ray is not installed.")

    jobs = Jobs()
    with monkeypatch.context() as patch:
        patch.setattr("diffinf_core.ui.jobs.held", unreachable)
        jobs.start("quick", quick)
        jobs.wait(30)
    assert (jobs.snapshot().state, jobs.snapshot().error) == ("failed", "Ray is not installed.")
    jobs.start("quick", quick)
    jobs.wait(30)
    assert jobs.snapshot().state == "done"


def test_one_job_at_a_time_and_its_sentence_is_kept() -> None:
    def fails() -> Iterator[Progress]:
        yield Progress("work", 0, 2)
        raise DiffInfError("There is no picture.")

    jobs = Jobs()
    jobs.start("work", fails)
    jobs.wait(30)
    assert (jobs.snapshot().state, jobs.snapshot().error) == ("failed", "There is no picture.")
