"""Search the best judge of the generated interactions on validation, from the answers that are there: no LLM call.

python -m jobs.sweep --recipe beauty --workspace runs/beauty --recommender swing
"""

import typer

from longtail.command.show_sweep import main

if __name__ == "__main__":
    typer.run(main)
