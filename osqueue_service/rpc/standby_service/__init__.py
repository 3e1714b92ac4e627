"""StandbyService, between brokers: both sides of it."""
