"""Training: the stage, the loop that trained models share, and where it goes on after a fault."""
