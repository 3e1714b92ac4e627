"""What an operator does to a queue, and the figures that he looks at: `client.admin`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any

from osqueue.admin_messages import (
    DeadGroups,
    DeadGroupsRequest,
    History,
    HistoryRequest,
    PausedTypes,
    QueueRoot,
    StorageStats,
    StorageStatsRequest,
    TypesRequest,
    WorkerInfo,
    WorkerPage,
    WorkersRequest,
)
from osqueue.calls.base import names_of
from osqueue.calls.reading import read
from osqueue.calls.steering import Changes, change_each
from osqueue.errors import DEADLINE_EXCEEDED, TransportConfigError, TransportConnectionError
from osqueue.job import Job, JobFilter, Position
from osqueue.messages import Selection
from osqueue.registry import JobType
from osqueue.session import Session
from osqueue.stats import TypeStats
from osqueue.submission import integer, text, to_epoch_ms
from osqueue.transports.protocol import AdminTransport

HAND_OVER_MS = 30_000
"""A leader serves on until a standby is near, 20 s at most, and has 5 s to finish."""
WORKERS_PER_PAGE = 1_000


class Admin:
    """An operator's calls, over whatever transport the client has.

        dead = await client.admin.dead_groups()
        for group in dead.groups:
            print(group.count, group.type, group.error_type)

    Each method can fail as every call can: `AuthError`, or an outage that lasts longer than the client's patience
    (`BrokerLeadershipError`, `TransportConnectionError`, `StorageBackendError`). Other errors are named there.
    """

    def __init__(self, open_session: Callable[[], Session]) -> None:
        self._open_session = open_session

    async def root(self) -> QueueRoot:
        """The queue's root: who leads and since when, how many jobs there are, which checkpoint recovery starts from.

        It shows the durable state of one moment, not below what this client has seen before.
        """
        session, transport = self._open()

        async def first() -> QueueRoot:
            parts = transport.get_state()
            try:
                async with asyncio.timeout(session.timeout_ms / 1_000):
                    async for part in parts:
                        if part.header is not None:
                            return part.header
            except TimeoutError as error:
                late = f"no answer to GetState from {transport.address} within {session.timeout_ms} ms"
                raise TransportConnectionError(late, reason=DEADLINE_EXCEEDED) from error
            finally:
                await _close(parts)
            raise TransportConnectionError(f"{transport.address} ended the state before it began")

        return await read(session, first)

    async def state(self) -> AsyncIterator[QueueRoot | Job]:
        """The root, then every live job in order of submission, with payload, without history, as you iterate.

        Jobs are shown as they are when their part is made, each at most once. A connection that breaks on the way is an
        error, `TransportConnectionError`: what came so far is not the whole.
        """
        session, transport = self._open()
        parts, since = transport.get_state(), session.seen
        try:
            async for part in parts:
                if part.header is not None:
                    session.read(part.header.position, since)
                    yield part.header
                for job in part.jobs:
                    yield job
        finally:
            await _close(parts)

    async def workers(self) -> AsyncIterator[WorkerInfo]:
        """The workers that the leader has seen lately, in order of their ids, with what they hold.

        They are kept in memory: after a change of leaders each is known again from its next call on.
        """
        session, transport = self._open()
        token = ""
        while True:
            page = await read(session, partial(_worker_page, session, transport, token))
            for worker in page.workers:
                yield worker
            token = page.next_page_token
            if not token:
                return

    async def types(self) -> dict[str, TypeStats]:
        """The statistics of each type that has jobs or is paused, by its name; "" stands for jobs without a type."""
        session, _ = self._open()
        stats = await read(
            session, lambda: session.transport.get_stats(linearizable=False, timeout_ms=session.timeout_ms)
        )
        return {each.type: each for each in stats.types}

    async def paused_types(self) -> list[str]:
        """The types that are not handed out at the moment."""
        return [name for name, stats in (await self.types()).items() if stats.paused]

    async def pause(self, types: Iterable[str | JobType[Any, Any]]) -> list[str]:
        """Hand out no more jobs of these types, 1 to 128 of them; returns all that are paused now.

        Running jobs go on, new ones are accepted and wait. The pause survives restarts. "" stands for jobs without a
        type. `BrokerProtocolError` for types that cannot be.
        """
        return await self._pausing(lambda transport: transport.pause_types, types)

    async def resume(self, types: Iterable[str | JobType[Any, Any]]) -> list[str]:
        """Hand out jobs of these types again; returns those that are still paused. Errors as those of `pause`."""
        return await self._pausing(lambda transport: transport.resume_types, types)

    async def dead_groups(self, types: Iterable[str | JobType[Any, Any]] = (), *, max_groups: int = 0) -> DeadGroups:
        """Dead letters of these types (none: all) counted by type and error, the largest groups first.

        At most `max_groups` of them, 1 to 1,000 (0: 100). A group's `type` and `error_type` make the `JobFilter` for
        `retry_jobs` and `purge`. `BrokerProtocolError` for arguments out of range.
        """
        session, transport = self._open()
        request = DeadGroupsRequest(names_of(types), integer("max_groups", max_groups, 2**31 - 1))
        return await read(session, lambda: transport.ask(request, timeout_ms=session.timeout_ms))

    async def history(self, *, since: datetime | int = 0, step_ms: int = 0, max_points: int = 0) -> History:
        """The leader's figures of the last hour in steps of `step_ms`, oldest first; it starts with none.

        `since`: a datetime, or milliseconds since the epoch (0: all there are). `step_ms`: at least 1,000 (0: 1,000).
        `max_points`: 1 to 3,600, the newest (0: 3,600). `BrokerProtocolError` for arguments out of range.
        """
        session, transport = self._open()
        request = HistoryRequest(
            since=to_epoch_ms("since", since),
            step_ms=integer("step_ms", step_ms),
            max_points=integer("max_points", max_points, 2**31 - 1),
        )
        return await read(session, lambda: transport.ask(request, timeout_ms=session.timeout_ms))

    async def storage(self) -> StorageStats:
        """What the object store was asked for, how it answered, how it was throttled, and what that costs.

        The figures are those of the broker that answers: behind one address of several that may be a standby.
        """
        session, transport = self._open()
        return await session.run(lambda: transport.ask(StorageStatsRequest(), timeout_ms=session.timeout_ms))

    async def purge(
        self, job_ids: Iterable[str] = (), *, matching: JobFilter | None = None, dry_run: bool = False
    ) -> Changes:
        """Remove these finished jobs, or all that match, for good, with payload, result and history.

        A promised retention does not protect from it. With `dry_run`, say what would happen and change nothing. The
        answer has each removed job with the status that it had; refused are those that are not finished
        (`BrokerProtocolError`) or not there (`JobNotFoundError`). After an outage the latter may have been removed by
        an attempt whose answer was lost.
        """
        session, transport = self._open()
        return await change_each(session, transport.purge, Selection(filter=matching, dry_run=dry_run), job_ids)

    async def step_down(self, *, reason: str = "") -> Position | None:
        """Let the leader hand over to a standby; returns the last commit of its epoch. `reason` is for its log.

        It serves on until a standby has followed, finishes its commits and stands by afterwards; that may take 30 s.
        Tried once, since a second call would reach the next leader: `TransportConnectionError`, or `EngineStateError`
        with the reason OUTCOME_UNKNOWN, means that it may have handed over or not. `root()` tells the epoch.
        """
        session, transport = self._open()
        text("reason", reason)
        timeout_ms = max(HAND_OVER_MS, session.timeout_ms)
        since = session.seen
        done = await transport.step_down(reason, timeout_ms=timeout_ms)
        session.wrote(done.commit, since)
        return done.commit

    async def _pausing(
        self,
        choose: Callable[[AdminTransport], Callable[..., Awaitable[PausedTypes]]],
        types: Iterable[str | JobType[Any, Any]],
    ) -> list[str]:
        session, transport = self._open()
        request = TypesRequest(names_of(types), session.request_id())
        done = await session.change(lambda: choose(transport)(request, timeout_ms=session.timeout_ms))
        return done.paused_types

    def _open(self) -> tuple[Session, AdminTransport]:
        session = self._open_session()
        transport = session.transport
        if not isinstance(transport, AdminTransport):
            raise TransportConfigError(
                f"the transport {transport.name!r} has no operator's calls: implement "
                "osqueue.transports.protocol.AdminTransport, too, or use one of the SDK's own"
            )
        return session, transport


async def _worker_page(session: Session, transport: AdminTransport, token: str) -> WorkerPage:
    return await transport.ask(WorkersRequest(WORKERS_PER_PAGE, token), timeout_ms=session.timeout_ms)


async def _close(parts: AsyncIterator[Any]) -> None:
    close = getattr(parts, "aclose", None)
    if close is not None:
        await close()
