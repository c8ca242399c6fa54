"""The entry points of submitted Ray jobs, one per stage: `python -m jobs.<stage> --recipe R --workspace W`."""
