"""Searches the best settings of the judge on validation. It uses the answers in the ledger and calls no LLM.

python -m jobs.sweep --recipe beauty --workspace runs/beauty --recommender swing
"""

import typer

from longtail.command.show_sweep import main

if __name__ == "__main__":
    typer.run(main)
