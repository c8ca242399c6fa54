"""Shared by the `longtail` command and the jobs: options, logs, exit codes, and the summary at the end."""
