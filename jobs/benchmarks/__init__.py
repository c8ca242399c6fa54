"""The measurements of `python -m jobs.benchmark`: each module returns named figures, ratios of paired runs."""
