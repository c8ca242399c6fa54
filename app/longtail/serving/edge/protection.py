"""Everything that stands between Ray Serve and the routes, put around the application."""

from fastapi import FastAPI

from longtail.serving.edge.bodies import BodyLimit
from longtail.serving.edge.description import describe
from longtail.serving.edge.keys import KeyCheck, Keys
from longtail.serving.edge.load import Gate, Pace
from longtail.serving.edge.plain_errors import ProblemResponses
from longtail.serving.edge.request_log import log_to_standard_error, write_line
from longtail.serving.edge.request_metrics import count, watch
from longtail.serving.edge.request_record import Recorder
from longtail.serving.edge.request_routes import Methods
from longtail.serving.explorer import PATHS

ALIVE = frozenset({"/livez", "/readyz"})
"""Probes ask these without a key, also when the server is overloaded."""
NEVER_REFUSED = ALIVE | {"/metrics", "/version"}
"""Whoever looks after an overloaded server must see what it does."""
OPEN = ALIVE | PATHS | {"/openapi.json"}
"""The pages for people hold no data: what they ask for needs the key that the reader types."""


def protect(app: FastAPI, keys: Keys | None, deadline: float, longest: float) -> FastAPI:
    """Put the edge around an application that has all its routes and has not answered yet. Returns the same one.

    keys: None if it listens to its own machine only. deadline, longest: seconds, see `Gate`.
    """
    pace = Pace()
    watch(pace)
    log_to_standard_error()
    describe(app, keyed=keys is not None, open_paths=OPEN)
    # Starlette puts what is added last outermost.
    app.add_middleware(Gate, pace=pace, deadline=deadline, longest=longest, always=NEVER_REFUSED)
    app.add_middleware(BodyLimit)
    app.add_middleware(Methods, routes=app.routes)
    app.add_middleware(KeyCheck, keys=keys, open_paths=OPEN)
    app.add_middleware(ProblemResponses)
    app.add_middleware(Recorder, readers=(count, write_line))
    return app
