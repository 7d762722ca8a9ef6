"""A Ray cluster on this machine, which starts on a busy one too."""

from __future__ import annotations

import inspect
import os
import socket
import sys
from importlib import import_module
from typing import Any
from unittest import mock

# On a busy machine a node takes longer to start than Ray waits, and its workers, which Ray makes give way to everything
# else, hardly get a turn.
PATIENCE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_health_check_timeout_ms": "60000",
}
STARTS, NODES_APPEAR = 5, 240.0  # most times that a node is started; seconds until all have to be known


def start_cluster(nodes: int) -> Any:
    """A `ray.cluster_utils.Cluster` of so many nodes of one core, with the environment that this process has now."""
    os.environ.update(PATIENCE)
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    for number in range(nodes):
        add_node(cluster, **({} if number else {"include_dashboard": False}))
    cluster.wait_for_nodes(NODES_APPEAR)
    return cluster


def add_node(cluster: Any, **given: Any) -> Any:
    """One more node, the head if it is the first."""
    from ray._private import services

    starting = without_its_agents(services.start_raylet)
    for start in range(1, STARTS + 1):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        try:
            with mock.patch.object(services, "start_raylet", starting):
                return cluster.add_node(wait=False, num_cpus=1, runtime_env_agent_port=port, **given)
        except Exception as error:  # Ray raises no narrower one
            print(f"start {start} of a Ray node: {error}", file=sys.stderr, flush=True)
    raise TimeoutError(f"Ray did not start a node in {STARTS} times: try again where less else is at work")


def without_its_agents(start_raylet: Any) -> Any:
    """Ray's own `start_raylet`, which does not wait for the ports of processes that show and measure the node.

    It waits for 15 seconds, ends the node then, and cannot be told otherwise
    (https://github.com/ray-project/ray/issues/65983). A port of -1 says that there is none, as they say themselves
    where Ray is installed without its dashboard.
    """
    _raylet: Any = import_module("ray._raylet")  # compiled: it says nothing of its types
    names = (
        _raylet.METRICS_AGENT_PORT_NAME,
        _raylet.METRICS_EXPORT_PORT_NAME,
        _raylet.DASHBOARD_AGENT_LISTEN_PORT_NAME,
    )

    def started(*given: Any, **more: Any) -> Any:
        about = inspect.signature(start_raylet).bind(*given, **more).arguments
        for name in names:
            _raylet.persist_port(about["session_dir"], about["node_id"], name, -1)
        return start_raylet(*given, **more)

    return started
