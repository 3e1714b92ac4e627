"""Keeping the garbage collector out of the way of a large queue.

The structs of the queue are invisible to the collector, but the tables that hold them are
not: a full collection visits every entry. What exists when a broker begins to lead is moved
out of its sight; what comes later is looked at rarely.
"""

import gc

from osqueue_protocol.allocator import settle_allocator

# Objects that may be allocated before a young collection. The default of 700 makes a burst of calls, whose objects
# all die young, pay for collections that find nothing.
YOUNG_OBJECTS = 10_000


def settle_memory() -> None:
    """Call when a state has been built, before it serves. Takes as long as one full collection."""
    settle_allocator()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)
