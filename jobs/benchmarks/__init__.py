"""What `python -m jobs.benchmark` measures: each module answers named figures, ratios of paired runs on one machine."""
