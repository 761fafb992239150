"""The simulation behind docs/scale.md, where the answer is known, and the manifest that the page shows."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.benchmarks.simulation import PAGE, Costs, line, recorded, simulate


def costs(**over: Any) -> Costs:
    """A second per task and nothing else."""
    base: dict[str, Any] = {
        "size": 4, "pack": 0.0, "store": 0.0, "compute": [1.0], "parcel": 0, "networks": 0
    }  # fmt: skip
    return Costs(**{**base, **over})


@pytest.mark.parametrize("workers,seconds", [(1, 60), (4, 15), (60, 1), (64, 1)])
def test_workers_that_wait_for_nothing_divide_the_time(workers: int, seconds: float) -> None:
    outcome = simulate(costs(), 60, workers, 1.0, 1.0)
    assert outcome.seconds == pytest.approx(seconds)
    assert outcome.workers == pytest.approx(60 / seconds / workers) and outcome.busiest == "workers"


def test_one_process_that_packs_and_stores_is_the_limit_in_the_end() -> None:
    outcome = simulate(costs(pack=0.2, store=0.05), 400, 64, 1.0, 1.0)
    assert outcome.busiest == "packing and storing"
    assert outcome.seconds == pytest.approx(400 * 0.25, rel=0.02)


def test_a_slow_link_is_the_limit_in_the_end() -> None:
    outcome = simulate(costs(parcel=50), 400, 64, 1.0, bandwidth=100.0)
    assert outcome.busiest == "link"
    assert outcome.seconds == pytest.approx(400 * 0.5 + 1, rel=0.01)


def test_packing_hides_behind_the_task_before() -> None:
    """A worker has one parcel and the next on its way, so only the first is waited for."""
    outcome = simulate(costs(pack=0.5), 20, 1, 1.0, 1.0)
    assert outcome.seconds == pytest.approx(20.5)


def test_networks_are_sent_once_to_each_worker() -> None:
    assert simulate(costs(networks=300), 1, 1, 1.0, 100.0).seconds == pytest.approx(4)


def test_faster_workers_take_less_of_the_recorded_time() -> None:
    assert simulate(costs(), 60, 1, 10.0, 1.0).seconds == pytest.approx(6)


def test_the_fit_finds_a_line_and_keeps_the_spread_about_it() -> None:
    sizes = [1, 2, 4, 1, 2, 4]
    exact = [0.5 + 2.0 * n for n in sizes]
    assert line(sizes, exact) == pytest.approx((0.5, 2.0))
    assert recorded(sizes, exact, 10, 3.0) == pytest.approx([3 * 20.5] * 6)
    noisy = [s * (1.1 if i % 2 else 0.9) for i, s in enumerate(exact)]
    assert len(set(recorded(sizes, noisy, 10, 1.0))) > 1


def manifest() -> dict[str, Any]:
    """The KubeRay job of the page."""
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return yaml.safe_load(text)


def test_the_manifest_is_a_ray_job_whose_groups_fit_its_workers() -> None:
    job = manifest()
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    head = cluster["headGroupSpec"]
    groups = [head, *cluster["workerGroupSpecs"]]
    for group in groups:
        (container,) = group["template"]["spec"]["containers"]
        assert set(container["resources"]) == {"requests", "limits"}
        assert container["image"] == head["template"]["spec"]["containers"][0]["image"]
    assert head["rayStartParams"]["num-cpus"] == "0", (
        "the head stores and packs, and computes nothing"
    )
    for group in cluster["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert int(container["resources"]["limits"]["nvidia.com/gpu"]) >= 1
    mounts = head["template"]["spec"]["containers"][0]["volumeMounts"]
    volumes = {v["name"] for v in head["template"]["spec"]["volumes"]}
    assert {m["name"] for m in mounts} == volumes
    assert job["spec"]["entrypoint"].startswith("diffinf run /run/data --out /run/")


def test_every_command_of_the_page_is_one_that_there_is() -> None:
    from diffinf_core.cli.app import app

    verbs = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    used = re.findall(r"\bdiffinf ([a-z][a-z-]*)", PAGE.read_text())
    assert used and set(used) <= verbs
