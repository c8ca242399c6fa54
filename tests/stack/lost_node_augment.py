"""Augments on a cluster of two nodes, and takes the one that the engine runs on away once it has answered.

python -m tests.stack.lost_node_augment RECIPE WORKSPACE writes the ledger's files of that moment to the workspace, for Ray
talks on its standard output; a Ray of its own, hence a process of its own.
"""

import logging
import os
import sys
import threading
import time

import psutil
from ray._common.utils import reset_ray_address
from ray.cluster_utils import Cluster

from longtail.augment import augment
from longtail.recipe import load_recipe
from longtail.workspace import Workspace
from tests.stack.processes import ACTOR, found

BEFORE = "before.json"


def main(recipe_file: str, folder: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe, ws = load_recipe(recipe_file), Workspace(folder)
    # The driver's own node works for nobody: who loses it loses the run.
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=4) for _ in range(2)]
    os.environ["RAY_ADDRESS"] = cluster.address
    reset_ray_address()  # nobody but this process shall find it, least of all when it is gone
    published: list[bool] = []
    augmenting = threading.Thread(target=lambda: published.append(augment(recipe, ws) is None))
    augmenting.start()
    while not (ws / "ledger").files(".parquet"):
        assert augmenting.is_alive(), "augment ended before it wrote an answer"
        time.sleep(0.05)
    (engine,) = found(ACTOR, os.getpid())
    raylets = {node.all_processes["raylet"][0].process.pid: node for node in nodes}
    lost = next(raylets[one.pid] for one in psutil.Process(engine).parents() if one.pid in raylets)
    cluster.remove_node(lost, allow_graceful=False)
    (ws / BEFORE).write_json([file.path for file in (ws / "ledger").files(".parquet")])
    augmenting.join()
    # Ray's own way out asks the node that is gone, and may end with 1 whatever the job did.
    os._exit(0 if published else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
