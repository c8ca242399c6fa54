"""Ranking: the best k items of many users at a time."""
