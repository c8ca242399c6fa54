"""The strategies: one file each, which ends with what it declares, its `SPEC`. The other files are what they share."""
