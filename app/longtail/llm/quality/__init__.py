"""The quality of a tuned LLM, measured on validation items."""
