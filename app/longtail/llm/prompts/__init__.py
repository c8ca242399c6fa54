"""Prompts: their words, items as text, and token ids built from both."""
