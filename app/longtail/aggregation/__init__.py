"""Aggregation: a recommender's list and the LLM's made into one, in the same way for evaluation and for serving."""
