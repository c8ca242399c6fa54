"""Serving: a ranking that trusts the LLM more the sparser the user is, over HTTP.

`serve` runs it on this machine; `serve build` and KubeRay import `longtail.serving.deployments:application`.
"""

from longtail.serving.local import serve

__all__ = ["serve"]
