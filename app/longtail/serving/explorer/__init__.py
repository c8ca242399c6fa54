"""The explorer at `/` and the description of the API at `/docs`: pages for a person who looks at the endpoint."""

from longtail.serving.explorer.static_pages import PATHS, add_pages

__all__ = ["PATHS", "add_pages"]
