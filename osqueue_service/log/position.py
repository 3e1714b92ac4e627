"""A place in the log."""

from dataclasses import dataclass

GENESIS_HASH = bytes(32)


@dataclass(frozen=True, slots=True)
class Position:
    """The log up to and including one slot.

    `lane` is the lane in force after that slot: where the next slot lies. `hash` is the
    chain hash of the object in the slot, which the next object must name as its
    predecessor. `log_bytes` counts the bytes of the segments passed since recovery
    began reading, so that two positions tell how much log lies between them.
    """

    lane: int
    sequence: int
    hash: bytes
    log_bytes: int = 0


GENESIS = Position(lane=0, sequence=0, hash=GENESIS_HASH)
"""Before the first object of a queue. Lane 0 never holds a segment, only the first leader's fence."""
