"""The seam between stages and the machines that compute them, without any cluster."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any

import pytest

from diffinf_core.records import DiffInfError
from diffinf_core.runs import executor
from diffinf_core.runs.executor import Computing, Done, ItemsFailed, ParallelMap, compute


def never(*_: object) -> Any:
    raise AssertionError("this process computes, so nothing is sent")


def halves(item: int) -> Computing:
    yield f"halving {item}"
    if item == 3:
        raise DiffInfError("3 is odd")
    return item / 2


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """No executor is chosen, and none stays chosen."""
    for name in (executor.EXECUTOR, executor.ADDRESS):
        monkeypatch.setenv(name, "")


def test_this_process_computes_items_in_order_and_passes_events_on() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for item in (4, 2):
            drawn.append(item)
            yield item

    events = compute(ParallelMap(halves, never, never, never), items())
    assert next(events) == "halving 4" and drawn == [4], "an item is drawn when it is computed"
    assert list(events) == [Done(4, 2.0), "halving 2", Done(2, 1.0)]


def test_the_first_failure_of_this_process_ends_it() -> None:
    events = compute(ParallelMap(halves, never, never, never), [2, 3, never])
    with pytest.raises(DiffInfError, match="3 is odd"):
        list(events)


@pytest.mark.parametrize(
    "name,address,message",
    [("slurm", None, "'slurm'; choose one of local, ray"), ("local", "a:1", "--executor ray")],
)
def test_what_cannot_be_chosen_is_named(name: str, address: str | None, message: str) -> None:
    with pytest.raises(DiffInfError, match=message):
        executor.choose(name, address)


def test_an_environment_with_an_unknown_executor_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(executor.EXECUTOR, "dask")
    with pytest.raises(DiffInfError, match="DIFFINF_EXECUTOR is 'dask'"):
        executor.executor()


def test_without_ray_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "ray":
            raise ModuleNotFoundError("No module named 'ray'", name="ray")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(DiffInfError, match=r"pip install 'diffinf-core\[cluster\]'"):
        executor.choose("ray")


def test_a_list_of_failures_names_each_item_and_its_reason() -> None:
    error = ItemsFailed({"samples 0 to 3": "OSError: full", "samples 8 to 9": "killed"}, 5)
    assert str(error).splitlines() == [
        "2 could not be computed, 5 were and are kept:",
        "  samples 0 to 3: OSError: full",
        "  samples 8 to 9: killed",
        "The same command tries them again.",
    ]
