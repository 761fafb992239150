"""Work side by side: in order, bounded, under the caller's seal, and closed with its consumer."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from diffinf_core.records import Progress
from diffinf_core.runs.seal import present_seal, seal
from diffinf_core.runs.workers import in_order, run_trainings


@pytest.mark.parametrize("threads,ahead", [(1, 1), (1, 4), (3, 3), (4, 9)])
def test_results_come_in_order_and_no_item_is_taken_too_early(threads: int, ahead: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for i in range(40):
            taken += 1
            yield i

    for i, result in enumerate(in_order(lambda k: k * k, items(), threads, ahead, "t")):
        assert result == i * i and taken <= i + ahead
    assert taken == 40


def test_the_order_holds_whichever_is_ready_first() -> None:
    later, begun = threading.Event(), list[int]()

    def work(k: int) -> int:
        begun.append(k)
        if k == 0:
            assert later.wait(60)  # the first is held back until a later one is ready
        if k == 1:
            later.set()
        return k

    results = in_order(work, range(100), 2, 8, "t")
    assert next(results) == 0 and len(begun) <= 8, "what waits in memory is bounded"
    assert list(results) == list(range(1, 100)) and sorted(begun) == list(range(100))


def test_an_error_comes_in_its_turn_and_what_is_before_it_is_kept() -> None:
    results = in_order(lambda k: 1 // (2 - k), range(5), 2, 4, "t")
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_closing_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    results = in_order(lambda k: k, range(1000), 2, 8, "t")
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_threads_work_under_the_callers_seal() -> None:
    with seal():
        assert (
            list(in_order(lambda _: present_seal() is not None, range(3), 2, 2, "t")) == [True] * 3
        )
    assert list(in_order(lambda _: present_seal() is not None, range(3), 2, 2, "t")) == [False] * 3


def training(name: str, steps: int) -> Iterator[Progress]:
    """Counts to ``steps``; a stranger to the process that starts it."""
    for i in range(steps):
        yield Progress("training", i, steps, name)


@pytest.mark.parametrize("workers", [1, 2])
def test_trainings_are_counted_with_those_done_before(workers: int) -> None:
    jobs = {f"job {k}": (f"job {k}", 2) for k in range(3)}
    events = list(run_trainings("retrain", training, jobs, 5, workers))
    assert {e.stage for e in events} == {"retrain"} and {e.total for e in events} == {5}
    assert events[0].done == 2 and events[-1].done == 5
    assert [e.done for e in events] == sorted(e.done for e in events)
    assert events[-1].note in jobs
