"""Clusters of several nodes on this machine. Each node is a Ray of its own; a busy machine may need a second attempt."""

import os
from typing import Any

import psutil
from ray._common.utils import reset_ray_address
from ray.cluster_utils import Cluster

STARTS = 3


def cluster_of(*cpus: int) -> tuple[Cluster, list[Any]]:
    """A cluster, and its nodes, with so many CPUs each; the first is the head. The driver of this process will join it."""
    cluster = Cluster()
    nodes = [add_node(cluster, each) for each in cpus]
    os.environ["RAY_ADDRESS"] = cluster.address
    reset_ray_address()  # no other process must find this cluster, above all not after it has ended
    return cluster, nodes


def add_node(cluster: Cluster, cpus: int) -> Any:
    """Ray waits at most 30 s for a node, which is too short if both processors are taken. Then it is started again."""
    this = psutil.Process()
    for left in reversed(range(STARTS)):
        before = {process.pid for process in this.children(recursive=True)}
        try:
            return cluster.add_node(num_cpus=cpus)
        except Exception as late:
            if "timed out during startup" not in str(late) or not left:
                raise
            for process in this.children(recursive=True):
                if process.pid not in before:  # or it would join the cluster later, unknown to us
                    process.kill()
    raise AssertionError("one of the attempts returned or raised")
