"""Aggregation: fuses a recommender's list with the LLM's list, in the same way for evaluation and for serving."""
