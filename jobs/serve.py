"""A finished workspace to an HTTP endpoint.

python -m jobs.serve --recipe jobs/recipes/demo.yaml --workspace runs/demo
"""

from app.serving import serve
from jobs.command import stage_command

if __name__ == "__main__":
    stage_command(serve)
