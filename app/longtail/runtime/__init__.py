"""What a run needs of the machine and of Ray: starting or joining it, its workers, and what `doctor` looks at."""
