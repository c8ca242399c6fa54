"""What the texts of items say, as vectors: counted words, and pretrained models that have read more than the log."""
