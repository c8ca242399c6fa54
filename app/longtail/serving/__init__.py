"""Serving over HTTP: the fewer interactions a user has, the more the LLM's ranking counts.

`serve` runs it on this machine; `serve build` and KubeRay import `longtail.serving.application:application`.
"""

from longtail.serving.local import serve

__all__ = ["serve"]
