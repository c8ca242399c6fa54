"""Tunes on a cluster of two nodes, each with room for a worker, and removes the second node after a checkpoint.

python -m tests.stack.lost_node RECIPE WORKSPACE. It is a separate process, because it needs a separate Ray.
"""

import logging
import sys
import threading
import time

from longtail.llm.finetune.finetune_stage import finetune_role
from longtail.recipe import load_recipe
from longtail.workspace import Workspace
from tests.stack.nodes import add_node, cluster_of


def main(recipe_file: str, folder: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe, ws = load_recipe(recipe_file), Workspace(folder)
    cluster, (_, spot) = cluster_of(1, 1)
    tuning = threading.Thread(target=finetune_role, args=(recipe, ws, "generator"))
    tuning.start()
    while not [file for file in (ws / "checkpoints").files("checkpoint.json") if "/step-" in file.path]:
        assert tuning.is_alive(), "tuning ended before its first checkpoint"
        time.sleep(0.02)
    cluster.remove_node(spot)
    add_node(cluster, 1)
    tuning.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
