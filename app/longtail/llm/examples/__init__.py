"""Tuning examples: what each task asks and answers, and the files that Ray Data writes them to."""
