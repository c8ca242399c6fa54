"""Runs a grid of recipes in one workspace. No stage and no request to an LLM is made twice.

python -m jobs.ablate --recipe beauty --workspace runs/beauty --vary llm.size=1,2,4 --vary judge.weight=.1,.3,1
"""

import typer

from longtail.command.show_ablation import main

if __name__ == "__main__":
    typer.run(main)
