"""Serves recommendations from a finished workspace over HTTP.

python -m jobs.serve --recipe demo --workspace runs/demo
"""

from longtail.command.execute import stage_command
from longtail.serving import serve

if __name__ == "__main__":
    stage_command(serve)
