"""What happened to jobs, told to those who watch once it is durable."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum

from msgspec import Struct

from osqueue_service.engine.leases import LiveLease, Progress
from osqueue_service.errors import TooManyRequests, anew
from osqueue_service.state.model import CANCELLED, DEAD, Attempt, Job, Status
from osqueue_service.state.moves import Cause, Moves
from osqueue_service.state.state import State


class EventKind(IntEnum):
    """What happened. The numbers are those of the public contract."""

    SUBMITTED = 1
    READY = 2
    CLAIMED = 3
    PROGRESSED = 4
    COMPLETED = 5
    FAILED = 6
    EXPIRED = 7
    TIMED_OUT = 8
    RELEASED = 9
    DEAD = 10
    CANCEL_REQUESTED = 11
    CANCELLED = 12
    RETRIED = 13
    REMOVED = 14
    REPLACED = 15
    UNBLOCKED = 16
    BLOCKED = 18
    UPDATED = 55


class JobEvent(Struct, frozen=True, gc=False):
    """One thing that happened to one job. `status` is what the job is since then; `at` is queue time (ms)."""

    kind: EventKind
    job_id: str
    type: str
    status: Status
    at: int
    worker_id: str = ""
    attempt: int = 0
    error_type: str = ""
    error_message: str = ""
    run_at: int = 0
    fraction: float = 0.0
    message: str = ""


class Subscription:
    """One watcher's buffer. When it is full the events in it are dropped and `missed` is set: look again.

    `after`: the last commit that was under way when the watch began, whose events may not have been described.
    """

    def __init__(self, wanted: Callable[[JobEvent], bool], limit: int, after: int) -> None:
        self.after = after
        self.sequence = after
        """The last commit whose events were offered: how far this watcher is told, once it has taken them."""
        self._wanted = wanted
        self._limit = limit
        self._events: deque[JobEvent] = deque()
        self._arrived = asyncio.Event()
        self._missed = False
        self._closed: Exception | None = None

    async def arrival(self) -> None:
        """Return when there is something to `take`. Raises what closed the watch."""
        await self._arrived.wait()

    def take(self) -> tuple[list[JobEvent], bool]:
        """What arrived since the last call, and whether something was missed before it."""
        if self._closed is not None and not self._events:
            raise anew(self._closed)
        events, missed = list(self._events), self._missed
        self._events.clear()
        self._missed = False
        if self._closed is None:
            self._arrived.clear()
        return events, missed

    def offer(self, events: Iterable[JobEvent]) -> None:
        """Buffer those that the watcher wants."""
        for event in events:
            if not self._wanted(event):
                continue
            if len(self._events) >= self._limit:
                self._events.clear()
                self._missed = True
            self._events.append(event)
            self._arrived.set()

    def close(self, reason: Exception) -> None:
        """No more events will come."""
        self._closed = reason
        self._arrived.set()


class EventHub:
    """All watchers. Describing events costs nothing while nobody watches."""

    def __init__(self, watchers_max: int, buffer_max: int) -> None:
        self._watchers_max = watchers_max
        self._buffer_max = buffer_max
        self.watchers: dict[Subscription, None] = {}
        """In the order in which they came."""

    def subscribe(self, wanted: Callable[[JobEvent], bool], after: int) -> Subscription:
        """Watch the commits behind that one; TOO_MANY_REQUESTS at the limit."""
        if len(self.watchers) >= self._watchers_max:
            raise TooManyRequests(
                f"{self._watchers_max} callers watch this queue, which is the limit (watchers): close one",
                retry_after_ms=1_000,
            )
        subscription = Subscription(wanted, self._buffer_max, after)
        self.watchers[subscription] = None
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self.watchers.pop(subscription, None)

    def publish(self, events: list[JobEvent], sequence: int | None = None) -> None:
        """These events, of that commit or of none, are durable."""
        for watcher in self.watchers:
            if sequence is None:
                watcher.offer(events)
            elif sequence > watcher.after:
                watcher.sequence = sequence
                watcher.offer(events)

    def close(self, reason: Exception) -> None:
        """Leadership is over: watchers go to the new leader."""
        for watcher in self.watchers:
            watcher.close(reason)
        self.watchers.clear()


def events_of(state: State, moves: Iterable[Moves], at: int) -> Iterator[JobEvent]:
    """Events of moves that were just made: one for why the job moved, and one more when an attempt's end ended the job
    too."""
    for move in moves:
        for job in move.jobs:
            yield _event(state, KINDS[move.cause], job, at)
            if move.frees and move.target is DEAD:
                yield _event(state, EventKind.DEAD, job, at)
            elif move.frees and move.target is CANCELLED:
                yield _event(state, EventKind.CANCELLED, job, at)


def progressed(state: State, job: Job, lease: LiveLease, said: Progress) -> JobEvent:
    """A worker said how far it is. Not a change of state, so there is nothing to wait for."""
    return JobEvent(
        kind=EventKind.PROGRESSED,
        job_id=state.job_id(job),
        type=job.spec.type,
        status=job.status,
        at=said.updated_at,
        worker_id=lease.worker_id,
        attempt=job.claims,
        fraction=said.fraction,
        message=said.message,
    )


KINDS = {
    Cause.SUBMITTED: EventKind.SUBMITTED,
    Cause.PROMOTED: EventKind.READY,
    Cause.CLAIMED: EventKind.CLAIMED,
    Cause.COMPLETED: EventKind.COMPLETED,
    Cause.FAILED: EventKind.FAILED,
    Cause.EXPIRED: EventKind.EXPIRED,
    Cause.TIMED_OUT: EventKind.TIMED_OUT,
    Cause.RELEASED: EventKind.RELEASED,
    Cause.CANCEL_REQUESTED: EventKind.CANCEL_REQUESTED,
    Cause.CANCELLED: EventKind.CANCELLED,
    Cause.RETRIED: EventKind.RETRIED,
    Cause.EVICTED: EventKind.REMOVED,
    Cause.PURGED: EventKind.REMOVED,
    Cause.REPLACED: EventKind.REPLACED,
    Cause.UNBLOCKED: EventKind.UNBLOCKED,
    Cause.CUT_OFF: EventKind.CANCELLED,
    Cause.REVIVED: EventKind.BLOCKED,
    Cause.UPDATED: EventKind.UPDATED,
}
"""What watchers are told of each cause."""

_TELL_OF_THE_ATTEMPT = (
    EventKind.COMPLETED,
    EventKind.FAILED,
    EventKind.EXPIRED,
    EventKind.TIMED_OUT,
    EventKind.RELEASED,
    EventKind.DEAD,
)


def _event(state: State, kind: EventKind, job: Job, at: int) -> JobEvent:
    lease = job.lease
    last: Attempt | None = job.history[-1] if job.history else None
    ended = kind in _TELL_OF_THE_ATTEMPT
    return JobEvent(
        kind=kind,
        job_id=state.job_id(job),
        type=job.spec.type,
        status=job.status,
        at=at,
        worker_id=lease.worker_id if lease else last.worker_id if last and ended else "",
        attempt=job.claims,
        error_type=last.error_type if last and ended else "",
        error_message=last.error_message if last and ended else "",
        run_at=job.due_at,
    )
