"""The `osqueue` command."""
