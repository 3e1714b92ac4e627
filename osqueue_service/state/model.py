"""What a queue is: jobs, leases, attempts, and the state that holds them.

The structs that exist once per job opt out of the garbage collector (`gc=False`):
they never form a cycle that outlives their removal (an `Index` unlinks its nodes),
and a collector that has nothing to traverse does not pause a broker that holds a
million of them.
"""

from collections.abc import Sequence
from enum import IntEnum
from hashlib import blake2b
from sys import intern
from typing import Final, assert_never

from msgspec import Struct
from msgspec.structs import force_setattr

from osqueue_service.state.needs import Member
from osqueue_service.state.origin import FOLLOW_UP as FOLLOW_UP
from osqueue_service.state.origin import ON_DEAD as ON_DEAD
from osqueue_service.state.origin import Origin as Origin
from osqueue_service.state.unique import InSequence, Unique


class Status(IntEnum):
    """Where a job is in its life. The numbers are the stored format and say nothing else: what a status means is asked
    of `finished`, and of matches that name every one."""

    UNCLAIMED = 0
    SCHEDULED = 1
    IN_PROGRESS = 2
    COMPLETED = 3
    DEAD = 4
    CANCELLED = 5
    BLOCKED = 6

    @property
    def wire(self) -> str:
        """The name that the public contract uses."""
        return _WIRE[self]

    @property
    def finished(self) -> bool:
        """Whether it has come to its end; a job that has not is live."""
        return _FINISHED[self]


# Under names of their own for what runs once per job: reaching a member through its class takes four times as long.
UNCLAIMED: Final = Status.UNCLAIMED
SCHEDULED: Final = Status.SCHEDULED
IN_PROGRESS: Final = Status.IN_PROGRESS
COMPLETED: Final = Status.COMPLETED
DEAD: Final = Status.DEAD
CANCELLED: Final = Status.CANCELLED
BLOCKED: Final = Status.BLOCKED

_WIRE = tuple(status.name.lower() for status in Status)


def _is_finished(status: Status) -> bool:
    match status:
        case Status.UNCLAIMED | Status.SCHEDULED | Status.IN_PROGRESS | Status.BLOCKED:
            return False
        case Status.COMPLETED | Status.DEAD | Status.CANCELLED:
            return True
        case _:
            assert_never(status)


_FINISHED = tuple(map(_is_finished, Status))
LIVE = tuple(status for status in Status if not status.finished)
FINISHED = tuple(status for status in Status if status.finished)


class Ending(IntEnum):
    """How an attempt ended."""

    COMPLETED = 1
    FAILED = 2
    EXPIRED = 3
    TIMED_OUT = 4
    RELEASED = 5
    CANCELLED = 6


class RetryPolicy(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """How long a failed job waits before its next attempt: initial_ms * multiplier ** (attempts - 1),
    at most max_ms, spread by +- jitter (a fraction). initial_ms = 0 means at once."""

    initial_ms: int = 0
    multiplier: float = 2.0
    max_ms: int = 3_600_000
    jitter: float = 0.1


class LimitUse(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One limit that a job is under: while it runs it takes `cost` of what the key may run, and its start takes as much
    of the key's rate."""

    limit: str
    key: str = ""
    cost: int = 1


class MoreOfSpec(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """What few jobs ask for, stored by name. A new property of a job is added here, behind a feature.

    `id` is set only on jobs adopted from another queue; all others are named by their number. `schedule` is the id of
    the schedule that made the job, for the nominal time `scheduled_for`. `on_dead` is submitted whenever the job dies.
    `limits` are those that it is under, the ones of its type included. `fairness_key` is whose turn it is to be.
    `batch` is the number of the batch that it is a member of.
    """

    id: str = ""
    schedule: str = ""
    scheduled_for: int = 0
    origin: Origin | None = None
    on_dead: "JobSpec | None" = None
    limits: tuple[LimitUse, ...] = ()
    unique: Unique | None = None
    member: Member | None = None
    sequence: InSequence | None = None
    fairness_key: str = ""
    batch: int = 0


class JobSpec(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What the producer asked for. A job that is replaced or changed has another one from then on. 0, "" or None means:
    not said, the default applies."""

    type: str
    payload: bytes
    priority: int = 0
    max_attempts: int = 0
    run_at: int = 0
    lease_ms: int = 0
    timeout_ms: int = 0
    retention_ms: int = 0
    idempotency_key: str = ""
    retry: RetryPolicy | None = None
    metadata: dict[str, str] | None = None
    more: MoreOfSpec | None = None

    @property
    def id(self) -> str:
        """The public id that an adopted job came with, else ""."""
        return self.more.id if self.more is not None else ""

    @property
    def on_dead(self) -> "JobSpec | None":
        """What is submitted when the job dies."""
        return self.more.on_dead if self.more is not None else None

    @property
    def limits(self) -> tuple[LimitUse, ...]:
        """The limits that the job is under."""
        return self.more.limits if self.more is not None else ()

    @property
    def unique(self) -> Unique | None:
        """The key that no other job may have meanwhile."""
        return self.more.unique if self.more is not None else None

    @property
    def fairness_key(self) -> str:
        """Whose turn it is when the job is claimed; "" like all without one."""
        return self.more.fairness_key if self.more is not None else ""

    @property
    def sequence(self) -> InSequence | None:
        """The sequence in which it has its turn."""
        return self.more.sequence if self.more is not None else None

    @property
    def size(self) -> int:
        """Bytes that count against the queue's limit: what the producer sent, and what came with it from the job before
        it. What is submitted at its death has its room from the beginning."""
        size = len(self.payload) + len(self.type) + len(self.idempotency_key)
        if self.metadata:
            size += sum(len(k) + len(v) for k, v in self.metadata.items())
        if self.more is not None:
            if self.more.origin is not None:
                size += len(self.more.origin.error_type) + len(self.more.origin.error_message)
            if self.more.on_dead is not None:
                size += self.more.on_dead.size
            size += sum(len(use.limit) + len(use.key) for use in self.more.limits)
            if self.more.member is not None:
                size += sum([len(need.node) for need in self.more.member.needs], len(self.more.member.node))
            size += sum([len(each.key) for each in (self.more.unique, self.more.sequence) if each is not None])
        return size


def fingerprint(spec: JobSpec) -> bytes:
    """16 bytes of BLAKE2b over type and payload: equal for two jobs that one idempotency key may stand for."""
    digest = blake2b(spec.type.encode() + b"\0", digest_size=16)
    digest.update(spec.payload)
    return digest.digest()


def fingerprint_of_call(specs: Sequence[JobSpec]) -> bytes:
    """Equal for two executions of one call: same types, same payloads, same order."""
    parts = [f"{spec.type}\0{len(spec.payload)}\0".encode() + spec.payload for spec in specs]
    return blake2b(b"".join(parts), digest_size=16).digest()


def one_type_string(spec: JobSpec) -> JobSpec:
    """The same spec, its type's name shared with all others of the type, and its fairness key with those of the key:
    64 bytes less per job for each."""
    name = intern(spec.type)
    if name is not spec.type:
        force_setattr(spec, "type", name)
    if spec.more is not None and spec.more.fairness_key:
        force_setattr(spec.more, "fairness_key", intern(spec.more.fairness_key))
    return spec


class Lease(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """The exclusive right to one attempt of one job, proven by its token.

    `started_at` is the commit time of the claim; the attempt's `timeout_ms` runs from it.
    The moment at which the lease expires is not here: heartbeats move it without a commit,
    so it lives in the engine and starts anew after a takeover.
    """

    token: str
    worker_id: str
    attempt: int
    started_at: int
    lease_ms: int
    claim_key: str = ""


class Attempt(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One ended execution. `token` lets its last action be repeated; `became` is the status the job took by it,
    until `next_at` if that was SCHEDULED."""

    number: int
    worker_id: str
    token: str
    started_at: int
    ended_at: int
    ending: Ending
    became: Status
    next_at: int = 0
    error_type: str = ""
    error_message: str = ""


class Node(Struct, gc=False):
    """A job's place in one `Index`."""

    key: int
    job: "Job"
    before: "Node | None" = None
    after: "Node | None" = None


class MoreOfJob(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """What few jobs have, stored by name. A new property of a job is added here, behind a feature.

    `follow_ups` is what its completion was answered: the numbers of the jobs, negated where an earlier one stood for
    it, 0 where it was refused; `withheld` says that there were to be some, and that none was submitted because the job
    was to be cancelled. `on_dead` numbers what its deaths submitted, the last ones. `cut_by` is the job whose bad end
    cancelled it, `turn` its place in its sequence while it is blocked there.
    """

    follow_ups: tuple[int, ...] = ()
    withheld: bool = False
    on_dead: tuple[int, ...] = ()
    cut_by: int = 0
    turn: int = 0


class Job(Struct, gc=False):
    """One job as it stands now.

    `number` is its position in the order of submission and never changes; `place` orders it among
    the waiting jobs of its type and priority. `attempts` counts the executions that count against
    `max_attempts`; `claims` numbers all of them. `due_at` is set while scheduled, `finished_at` and `keep_until`
    once finished. `waits_since` is when a retry, or the end of what it needed, let it wait: replay tells it, an image
    does not, so that a leader that begins with a checkpoint takes its last attempt's end or its submission.
    """

    spec: JobSpec
    number: int
    created_at: int
    place: int
    status: Status = Status.UNCLAIMED
    attempts: int = 0
    claims: int = 0
    due_at: int = 0
    cancel_requested: bool = False
    finished_at: int = 0
    keep_until: int = 0
    lease: Lease | None = None
    result: bytes | None = None
    history: tuple[Attempt, ...] = ()
    more: MoreOfJob | None = None
    roster_node: Node | None = None
    # In its line while it waits, in its group of dead letters while it is dead.
    ready_node: Node | None = None
    waits_since: int = 0

    @property
    def ready_since(self) -> int:
        """When a job that waits, or was claimed from waiting, became ready (ms)."""
        since, run_at = self.created_at, self.spec.run_at
        if run_at > since:
            since = run_at
        if self.waits_since > since:
            since = self.waits_since
        if self.history:
            last = self.history[-1]
            # Whoever moved its time after an attempt had ended has the last word, not that attempt.
            if run_at < last.ended_at or not run_at:
                since = max(since, last.ended_at, last.next_at)
        return since

    @property
    def size(self) -> int:
        """Bytes that a finished job counts against its retention caps."""
        size = self.spec.size
        if self.result:
            size += len(self.result)
        return size + self.history_bytes if self.history else size

    @property
    def history_bytes(self) -> int:
        """Bytes of its attempts' errors."""
        size = 0
        for attempt in self.history:
            size += len(attempt.error_message) + len(attempt.error_type)
        return size


class KeyEntry(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What a user's idempotency key stands for."""

    number: int
    fingerprint: bytes
    expires_at: int


class RequestEntry(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What a repeated call answers: the jobs its first execution answered with.

    A call's new jobs have consecutive numbers, so `first` and `count` say them all. Only a call of which some
    items were deduplicated (negated) or refused (0) lists its `numbers`.
    """

    fingerprint: bytes
    expires_at: int
    first: int
    count: int
    numbers: tuple[int, ...] = ()


class SettledEntry(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """The last action of a token whose job is no longer kept."""

    token: str
    number: int
    worker_id: str
    ending: Ending
    became: Status
    expires_at: int
    next_at: int = 0


class FollowedEntry(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What the completion of a settled token was answered of its follow-ups, as in `MoreOfJob`."""

    expires_at: int
    numbers: tuple[int, ...]
    withheld: bool = False


class Counters(Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    """Totals since the queue was created. They never fall."""

    submitted: int = 0
    claimed: int = 0
    completed: int = 0
    cancelled: int = 0
    failed: int = 0
    expired: int = 0
    timed_out: int = 0
    released: int = 0
    died: int = 0
    retried: int = 0
    dead_evicted: int = 0
    dead_purged: int = 0
    live_purged: int = 0
    evicted: int = 0
    deduplicated: int = 0
    purged: int = 0
