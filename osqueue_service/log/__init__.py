"""The log of a queue: root, segments, checkpoints and recovery."""
