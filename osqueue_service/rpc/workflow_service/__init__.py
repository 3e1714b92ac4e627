"""WorkflowService: jobs that need other jobs."""
