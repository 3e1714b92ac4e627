"""The pure core: (state, command, now) to (state, outcome), without time, I/O or randomness."""
