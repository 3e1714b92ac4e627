"""QueueService, for producers, workers and observers: one module for each noun that its RPCs are about."""
