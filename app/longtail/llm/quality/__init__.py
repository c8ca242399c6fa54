"""What a tuned LLM is worth, measured on validation."""
