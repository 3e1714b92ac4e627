"""BatchService: jobs that are counted together."""
