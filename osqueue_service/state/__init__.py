"""The pure core: what a queue is, what may be asked of it, and what that changes.

No await, no clock, no randomness, no I/O, no wire types, no logging. `machine` decides a
command into records and applies them; `apply` alone replays a log; `image` turns a state
into bytes and back.
"""
