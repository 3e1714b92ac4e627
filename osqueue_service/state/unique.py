"""What a job says of others that it must not run beside: its unique key, and its sequence.

Of a unique key: which it holds, how long, and what is to be done when the key is held.

`until` and `ttl_ms` are those of the job that holds the key; `on_conflict` and `if_running` are those of
the newcomer that meets it.
"""

from enum import IntEnum

from msgspec import Struct


class Scope(IntEnum):
    """Among which jobs a key is unique."""

    TYPE = 0
    QUEUE = 1


class Until(IntEnum):
    """When the holder lets go of its key: when it is finished, at its first claim, or completed or cancelled."""

    FINISHED = 0
    STARTED = 1
    SUCCEEDED = 2


class OnConflict(IntEnum):
    """What becomes of a newcomer whose key is held by a job that waits."""

    KEEP = 0
    REJECT = 1
    REPLACE = 2
    REPLACE_KEEP_RUN_AT = 3
    DEBOUNCE = 4


class IfRunning(IntEnum):
    """What becomes of a newcomer whose key is held by a job that runs."""

    KEEP = 0
    REJECT = 1
    ENQUEUE_ONE_AFTER = 2
    CANCEL = 3


class Unique(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A job's key and its terms. `max_wait_ms` is how long DEBOUNCE may put the holder off, from its submission."""

    key: str
    scope: Scope = Scope.TYPE
    until: Until = Until.FINISHED
    on_conflict: OnConflict = OnConflict.KEEP
    if_running: IfRunning = IfRunning.KEEP
    ttl_ms: int = 0
    max_wait_ms: int = 0

    def held_as(self, type_name: str) -> str:
        """The name under which the key is held: no type and no key has a line break in it."""
        return f"{type_name}\n{self.key}" if self.scope is Scope.TYPE else f"\n\n{self.key}"

    @property
    def keeps(self) -> bool:
        """Whether no job with the key is changed, asked to stop or followed."""
        kept = OnConflict.KEEP, OnConflict.REJECT
        return self.on_conflict in kept and self.if_running in (IfRunning.KEEP, IfRunning.REJECT)

    @property
    def terms(self) -> tuple[str, Scope, Until, int]:
        """What is the holder's: a job that takes its place must say the same."""
        return self.key, self.scope, self.until, self.ttl_ms


class Outcome(IntEnum):
    """What a submission with a unique key came to. The numbers are those of the public contract, and are stored."""

    NONE = 0
    CREATED = 1
    KEPT = 2
    REPLACED = 3
    DEBOUNCED = 4
    QUEUED_AFTER = 5
    CANCELLING = 6


_NUMBER_BITS = 56
_NUMBER_MASK = (1 << _NUMBER_BITS) - 1


def marked(number: int, outcome: Outcome) -> int:
    """One integer that says which job a submission came to, and how."""
    return number if outcome <= Outcome.CREATED else outcome << _NUMBER_BITS | number


def unmarked(mark: int) -> tuple[int, Outcome]:
    """The job's number and the outcome; a new job has no mark."""
    return mark & _NUMBER_MASK, Outcome(mark >> _NUMBER_BITS)


class AfterDead(IntEnum):
    """What a sequence does when the job at its head is dead."""

    HOLD = 0
    SKIP = 1


class InSequence(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """The sequence that a job belongs to: its jobs run one after the other."""

    key: str
    after_dead: AfterDead = AfterDead.HOLD
