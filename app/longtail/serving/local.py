"""Serving on this machine while the command runs."""

import json
import logging
import os
import shlex
import socket
import threading

from longtail.errors import InputError
from longtail.recipe import Recipe
from longtail.runtime.cluster import connect
from longtail.serving.edge.keys import needed_keys
from longtail.workspace import Workspace

log = logging.getLogger("longtail")
HOST = "127.0.0.1"


def serve(recipe: Recipe, ws: Workspace, port: int = 8000, block: bool = True) -> None:
    """Serve the finished workspace on http://127.0.0.1:port; with `block`, until Ctrl-C.

    Only the `serving` of the recipe says what is served. Raises InputError, before Ray starts, if the workspace is not
    finished or the port is taken.
    """
    from longtail.serving.versions.served_run import sources_of

    chosen = next(iter(sources_of(ws, recipe.serving).arms.values()))
    needed_keys(HOST, os.environ)
    _require_free(port)

    from ray import serve as ray_serve

    from longtail.serving.application import Arguments, application

    connect(recipe.resources)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    quiet = {"log_level": "WARNING", "enable_access_log": False}
    ray_serve.start(http_options={"host": HOST, "port": port}, logging_config=quiet)
    arguments = Arguments(workspace=ws.root.uri, serving=recipe.serving)
    ray_serve.run(application(arguments), name="longtail", logging_config=quiet)
    if not block:
        return
    some_item = (ws / "data/items.parquet").read_table(["item_id"])["item_id"][0].as_py()
    example = shlex.quote(json.dumps({"history": [some_item], "k": 5}))
    fusion = f" fused with the LLM's list of {chosen.list}" if chosen.list else ""
    log.info("Serving %s of %s%s, from %s", chosen.recommender, chosen.variant, fusion, ws)
    log.info("on http://%s:%d (description: /docs); Ctrl-C ends it.", HOST, port)
    log.info(
        "curl -s http://%s:%d/v1/recommend -H 'content-type: application/json' -d %s", HOST, port, example
    )
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:  # a plain `kill` comes as SystemExit, by a handler of Ray's
        ray_serve.shutdown()


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise InputError(f"--port {port}: {error.strerror}. Give another one.") from None
