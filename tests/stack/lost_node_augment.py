"""Augments on a cluster of two nodes, and removes the node of the engine after its first answer.

python -m tests.stack.lost_node_augment RECIPE WORKSPACE writes the list of the ledger's files at that moment to the
workspace, because Ray prints on standard output. It is a separate process, because it needs a separate Ray.
"""

import logging
import os
import sys
import threading
import time

import psutil

from longtail.augment import augment
from longtail.recipe import load_recipe
from longtail.workspace import Workspace
from tests.stack.nodes import cluster_of
from tests.stack.processes import ACTOR, found

BEFORE = "before.json"


def main(recipe_file: str, folder: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe, ws = load_recipe(recipe_file), Workspace(folder)
    # The driver's node runs no tasks, because losing it would lose the run.
    cluster, (_, *nodes) = cluster_of(0, 4, 4)
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
    # Ray's shutdown asks the lost node, and may exit with 1 even if the job succeeded.
    os._exit(0 if published else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
