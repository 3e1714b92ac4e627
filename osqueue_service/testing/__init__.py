"""Helpers for tests, the users' and our own."""
