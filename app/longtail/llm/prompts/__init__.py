"""Prompts: their words, items as text, and the token ids built from both."""
