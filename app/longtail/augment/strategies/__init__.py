"""The strategies. Each has a file, which ends with its declaration `SPEC`. The other files are shared by them."""
