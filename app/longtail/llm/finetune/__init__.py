"""The tuning room: batches of examples, packs, engines, checkpoints and the loop. Nothing in it knows of Ray."""
