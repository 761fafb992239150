"""A cluster of three small nodes on this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from diffinf_core.runs import executor, ray_executor

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes with one core each; the first is the head.

    No longer than a module: Ray ends a process whose node dies, and with it all tests to come.
    """
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        for _ in range(2):
            made.add_node(**NODE)
        ray.init(made.address, log_to_driver=False, logging_level=logging.ERROR)
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def on_ray(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The cluster with all of its nodes, chosen as executor; retries do not wait."""
    torch.set_num_threads(
        1
    )  # other tests bring libraries that set it, and a worker needs as many cores
    while len(cluster.worker_nodes) < 2:
        cluster.add_node(**NODE)
    monkeypatch.setenv(executor.EXECUTOR, "ray")
    monkeypatch.setenv(executor.ADDRESS, cluster.address)
    monkeypatch.setattr(ray_executor, "PAUSE", 0.0)
    return cluster
