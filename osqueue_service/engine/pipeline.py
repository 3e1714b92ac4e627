"""Commits under way, and who waits for them.

An answer may be given only when every commit whose effects it saw is durable. The only way
to give one is to attach it to a commit here; the log releases commits in order.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from osqueue_service.engine.events import JobEvent
from osqueue_service.engine.notices import Notice
from osqueue_service.engine.timing import Moment
from osqueue_service.engine.totals import Breakdown, Totals
from osqueue_service.errors import NotLeader, OsqueueError, OutcomeUnknown, anew
from osqueue_service.state.records import AnyRecord


class Reply(Struct):
    """An answer or refusal that waits to be given. `changes`: the call may have changed something."""

    answer: "asyncio.Future[Any]"
    value: Any
    changes: bool


class Batch:
    """The commit that is being put together, all of it at one stamped time."""

    __slots__ = ("at_ms", "effects", "events", "finished", "monotonic", "notices", "records", "replies")

    def __init__(self, now: Moment) -> None:
        self.at_ms = now.queue_ms
        self.monotonic = now.monotonic
        self.records: list[AnyRecord] = []
        self.effects = 0
        """Jobs that were changed by what follows from others' ends: a commit takes a bounded number of them."""
        self.replies: list[Reply] = []
        self.events: list[JobEvent] = []
        self.finished: list[int] = []
        self.notices: list[Notice] = []


class PendingCommit(Struct):
    """A commit that has been put and is not known to be durable. `breakdown` are the figures by type and key, of some
    commits."""

    sequence: int
    replies: list[Reply]
    totals: Totals
    breakdown: Breakdown | None
    put_at: float
    size: int
    finished: list[int]
    events: list[JobEvent]
    notices: list[Notice]


def give(reply: Reply) -> None:
    """Answer now. A caller that is gone has cancelled its future."""
    if reply.answer.done():
        return
    if isinstance(reply.value, OsqueueError):
        reply.answer.set_exception(anew(reply.value))
    else:
        reply.answer.set_result(reply.value)


class Pipeline:
    """The commits under way, oldest first."""

    def __init__(self, on_release: Callable[[PendingCommit], None]) -> None:
        self._commits: deque[PendingCommit] = deque()
        self._on_release = on_release

    def __len__(self) -> int:
        return len(self._commits)

    @property
    def calls(self) -> int:
        """How many calls wait for the commits under way."""
        return sum([len(commit.replies) for commit in self._commits])

    @property
    def oldest_put_at(self) -> float | None:
        """When (monotonic ms) the oldest commit under way was put."""
        return self._commits[0].put_at if self._commits else None

    def push(self, commit: PendingCommit, durable: "asyncio.Future[int]") -> None:
        """Follow the commit until the log says that it is durable."""
        self._commits.append(commit)
        durable.add_done_callback(self._settled)

    def attach(self, replies: list[Reply]) -> None:
        """Answer once everything under way is durable: at once when nothing is."""
        if self._commits:
            self._commits[-1].replies.extend(replies)
        else:
            for reply in replies:
                give(reply)

    async def settled(self) -> None:
        """Return when everything under way is durable. Raises `NotLeader` if the lane ends before."""
        if not self._commits:
            return
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.attach([Reply(durable, None, False)])
        try:
            await durable
        finally:
            del durable  # it keeps what it raises, and that this frame

    def fail(self, leader_address: str) -> None:
        """The lane has ended. What was put may have landed, so its callers hear OUTCOME_UNKNOWN; reads and
        refusals changed nothing and hear NOT_LEADER."""
        commits, self._commits = self._commits, deque()
        for commit in commits:
            for reply in commit.replies:
                reply.value = lost_answer(reply.changes, leader_address)
                give(reply)

    def _settled(self, durable: "asyncio.Future[int]") -> None:
        if durable.cancelled() or durable.exception() is not None or not self._commits:
            return
        commit = self._commits.popleft()
        assert commit.sequence == durable.result(), "the log released a commit out of order"
        try:
            self._on_release(commit)
        finally:  # whatever goes wrong beside it, the commit is durable, and its callers shall hear so
            for reply in commit.replies:
                give(reply)


def lost_answer(changes: bool, leader_address: str) -> OsqueueError:
    """What a caller hears whose commit was under way when leadership ended."""
    if changes:
        return OutcomeUnknown(
            "leadership ended while this change was under way: it may or may not have been made. Repeating the call "
            "with the same request_id, key or lease token is safe",
            retry_after_ms=100,
        )
    return NotLeader(
        "leadership ended before the answer was certain; ask the new leader", leader_address=leader_address
    )
