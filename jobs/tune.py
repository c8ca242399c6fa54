"""Searches the best settings of the recipe's recommenders on validation.

python -m jobs.tune --recipe demo --workspace runs/demo --recommender swing --samples 20
"""

import typer

from longtail.command.show_tuning import main

if __name__ == "__main__":
    typer.run(main)
