"""Tokens that somebody else signs: an identity provider of the operator's choice."""
