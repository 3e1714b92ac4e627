"""Questions to a State: which jobs match, page by page; why a job waits; dead letters by error. None changes it."""
