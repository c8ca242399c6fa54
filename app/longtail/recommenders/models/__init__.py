"""The recommenders: one file with the `SPEC` of each, and the modules that they use."""
