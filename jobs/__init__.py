"""One runnable per stage: `python -m jobs.<stage> --recipe R --workspace W`, the entry points of submitted Ray jobs."""
