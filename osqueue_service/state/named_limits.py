"""What is stored of limits: their definitions, what differs for a key, and how far each key's rate is used.

A rate is kept by the generic cell rate algorithm: a key has a *theoretical arrival time*, up to which its starts so far
are paid for. A start of cost c moves it by c intervals, and is allowed while it is not further ahead of now than the
burst. So what starts in any window of W costs at most the burst and W times the rate, whatever happened before.
"""

from enum import IntEnum

from msgspec import Struct

NS_PER_MS = 1_000_000


class AtLimit(IntEnum):
    """What becomes of a new job whose limit has no room for it. The numbers are the stored format."""

    WAIT = 0
    CANCEL_NEWEST = 1


class Rate(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """`limit` units of cost may start in each `period_ms`, `burst` of them at once."""

    limit: int
    period_ms: int
    burst: int

    @property
    def interval_ns(self) -> int:
        """The time that one unit of cost takes, rounded up: what is allowed is never more than the rate."""
        return -(-self.period_ms * NS_PER_MS // self.limit)


class NamedLimit(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One limit. `max_running` < 0: any number may run; no `rate`: they may start at any pace. `per_key`: each key has
    all of it for itself, otherwise all jobs share it. `types`: its jobs get it without asking, with the value of the
    named field of their metadata as key. `max_waiting` = 0: any number may wait."""

    name: str
    max_running: int
    rate: Rate | None = None
    per_key: bool = False
    at_limit: AtLimit = AtLimit.WAIT
    max_waiting: int = 0
    max_debt_ms: int = 600_000
    types: dict[str, str] | None = None


class Override(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """Other numbers for one key, until `expires_at` (0: for good). What it does not say is as for all keys."""

    max_running: int
    rate: Rate | None = None
    expires_at: int = 0


class Meter(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """How far one key is used: its theoretical arrival time (ns since 1970), and until when nothing of it may start
    (ms); 0 and 0: not at all, it is forgotten."""

    limit: str
    key: str
    arrival_ns: int
    held_until: int = 0


class KeyOverride(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """The override of one key."""

    key: str
    override: Override


class StoredLimit(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A limit and what differs for some of its keys, as an image holds it."""

    limit: NamedLimit
    overrides: list[KeyOverride]
