"""Who the callers are, and what each may do."""
