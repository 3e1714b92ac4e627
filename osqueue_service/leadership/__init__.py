"""Who leads: election and takeover."""
