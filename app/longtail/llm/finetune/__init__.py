"""Tuning: batches of examples, packs, engines, checkpoints, the loop, and its launch on Ray Train workers."""
