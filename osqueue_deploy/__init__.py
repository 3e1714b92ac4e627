"""Puts a queue into a cloud account: what `osqueue deploy` does."""
