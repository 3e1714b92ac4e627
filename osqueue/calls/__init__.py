"""What a client can do, by noun; `osqueue.client.OsqueueClient` is all of them together."""
