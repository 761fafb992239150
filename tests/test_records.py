"""A job: an iterator with a result, a callback, and a way to stop."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from diffinf_core.records import DiffInfError, Job


class Work:
    """Counts to three and notes how it ended."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.fails_at, self.started, self.cleaned = fails_at, False, 0

    def events(self) -> Generator[int, None, str]:
        self.started = True
        try:
            for i in range(3):
                if i == self.fails_at:
                    raise ValueError("broken")
                yield i
            return "done"
        finally:
            self.cleaned += 1


def test_nothing_runs_before_it_is_asked_for() -> None:
    work = Work()
    job = Job(work.events())
    assert not work.started
    assert job.result() == "done" and work.cleaned == 1


def test_events_come_first_and_the_result_stays() -> None:
    job = Job(Work().events())
    assert list(job) == [0, 1, 2] and list(job) == []
    assert job.result() == job.result() == "done"


def test_a_result_asked_half_way_runs_the_rest_and_calls_back_for_every_event() -> None:
    heard: list[int] = []
    job = Job(Work().events(), heard.append)
    assert next(job) == 0
    assert job.result() == "done" and heard == [0, 1, 2]


def test_closing_cleans_up_at_once_and_there_is_no_result() -> None:
    work = Work()
    job = Job(work.events())
    next(job)
    job.close()
    assert work.cleaned == 1 and list(job) == []
    for _ in range(2):
        with pytest.raises(DiffInfError, match="closed before"):
            job.result()


def test_closing_an_ended_job_keeps_its_result() -> None:
    job = Job(Work().events())
    job.result()
    job.close()
    assert job.result() == "done"


def test_an_error_is_raised_again_and_never_becomes_a_result() -> None:
    job = Job(Work(fails_at=1).events())
    with pytest.raises(ValueError, match="broken"):
        list(job)
    job.close()
    with pytest.raises(ValueError, match="broken"):
        job.result()


def test_a_callback_that_fails_stops_the_work() -> None:
    work = Work()

    def callback(event: int) -> None:
        raise KeyError(event)

    job = Job(work.events(), callback)
    with pytest.raises(KeyError):
        next(job)
    assert work.cleaned == 1
    with pytest.raises(KeyError):
        job.result()


def test_a_falsy_result_is_a_result() -> None:
    def nothing() -> Generator[int, None, None]:
        yield 1

    job = Job(nothing())
    assert job.result() is None and list(job) == []


def test_the_result_of_a_job_of_events_is_read_once_and_only_when_it_is_asked_for() -> None:
    read: list[int] = []

    def result() -> list[int]:
        read.append(1)
        return read

    job = Job.of(iter([1, 2]), result)
    assert list(job) == [1, 2] and read == []
    assert job.result() is read and job.result() is read and len(read) == 1
