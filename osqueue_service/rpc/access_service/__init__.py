"""Implementations of AccessService."""
