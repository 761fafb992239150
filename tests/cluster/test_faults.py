"""A worker, a node or an item that fails costs what it was doing, and nothing else."""

from __future__ import annotations

import os
import select
from pathlib import Path
from typing import Any

import pytest

from diffinf_core.runs.executor import Done, ItemsFailed, compute
from tests.cluster.tasks import squares

pytestmark = pytest.mark.slow


def begun(folder: Path, number: int) -> tuple[int, str]:
    """The process and the node that computed a number last."""
    pid, node = (folder / f"begun-{number}").read_text().split()
    return int(pid), node


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_killed_worker_and_failing_items_cost_only_themselves(
    on_ray: Any, tmp_path: Path
) -> None:
    what = {3: "dies once", 5: "fails", 6: "is refused"}
    items = [(what.get(n, ""), n) for n in range(9)]
    done: dict[int, int] = {}
    with pytest.raises(ItemsFailed) as caught:
        for event in compute(squares(tmp_path), items):
            if isinstance(event, Done):
                assert event.item[1] not in done, "once each"
                done[event.item[1]] = event.result
    assert done == {n: n * n for n in (0, 1, 2, 3, 4, 7, 8)}
    assert caught.value.failures == {
        "square 5": "failed 3 times, the last time by: ValueError: 5 is not to be had",
        "square 6": "6 is no number for this.",
    }


def test_a_node_that_is_lost_is_no_failure_of_its_items(on_ray: Any, tmp_path: Path) -> None:
    """Whatever the items wait for, their node goes; others compute them again."""
    done = {}
    lost = go = None
    for event in compute(squares(tmp_path), [("waits", n) for n in range(6)]):
        if isinstance(event, Done):
            done[event.item[1]] = event.result
            continue
        nodes = {begun(tmp_path, int(f.name[6:]))[1]: f for f in tmp_path.glob("begun-?")}
        doomed = [n for n in on_ray.worker_nodes if n.node_id in nodes]
        if lost is None and doomed:
            lost = doomed[0].node_id
            on_ray.remove_node(doomed[0], allow_graceful=False)
            # for reading, too: it blocks nobody who comes later
            go = os.open(tmp_path / "go", os.O_RDWR)
    assert go is not None
    os.close(go)
    assert lost is not None and done == {n: n * n for n in range(6)}
    assert all(begun(tmp_path, n)[1] != lost for n in range(6) if not ended_by(tmp_path, n, lost))


def ended_by(folder: Path, number: int, node: str) -> bool:
    """Whether a number was finished on a node before that was lost."""
    return (folder / f"ended-{number}").exists() and begun(folder, number)[1] == node


def test_closing_a_map_ends_what_its_workers_are_doing(on_ray: Any, tmp_path: Path) -> None:
    """They wait for what never comes, so only the cancellation can have ended them."""
    events = compute(squares(tmp_path), [("waits", n) for n in range(6)])
    for _ in events:
        if list(tmp_path.glob("begun-?")):
            break
    pids = [begun(tmp_path, int(file.name[6:]))[0] for file in tmp_path.glob("begun-?")]
    assert pids and not any(map(gone, pids))
    ends = [os.pidfd_open(pid) for pid in pids]
    events.close()
    for end in ends:
        select.select([end], [], [])  # readable once the process has ended
        os.close(end)
    assert all(map(gone, pids)) and not list(tmp_path.glob("ended-?"))
    assert os.getpid() not in pids
