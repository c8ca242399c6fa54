"""Training: the stage, the loop that all trained models share, and its checkpoints, from which it can continue."""
