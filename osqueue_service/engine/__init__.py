"""The single writer: batches commands, commits them and releases their answers in order."""
