"""What the `longtail` command and the jobs share: options, logs, exit codes, and what is said at the end."""
