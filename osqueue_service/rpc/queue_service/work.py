"""Work: push dispatch, many jobs per message in both directions."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from osqueue_service.errors import InvalidRequest, OsqueueError, TooManyRequests, anew
from osqueue_service.ids import IdSource
from osqueue_service.rpc.access.checks import check_claim
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import TypeNames, Violations, check_count, check_duration, check_name, check_number
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.queue_service.attempts import AttemptReader
from osqueue_service.rpc.queue_service.submissions import numbers_of
from osqueue_service.rpc.queue_service.work_session import WorkSession, sent_by
from osqueue_service.state.commands import Release, ReleaseItem
from osqueue_stubs.osqueue.v1 import queue_pb2

Frames = AsyncIterator[queue_pb2.WorkRequest]


STREAM_KEY_CHARS = 64
"""How long a stream's key may be."""


class _Open:
    """One open stream."""

    def __init__(self, opened: queue_pb2.WorkOpen) -> None:
        self.opened = opened
        self.replaced: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()

    def replace(self) -> None:
        """Another one takes its place."""
        if not self.replaced.done():
            self.replaced.set_result(None)


class Work:
    """Serves Work."""

    def __init__(self, broker: Broker, types: TypeNames, ids: IdSource) -> None:
        self._broker = broker
        self._limits = broker.limits
        self._types = types
        self._reader = AttemptReader(broker.limits, numbers_of(broker))
        self._ids = ids
        self._streams = 0
        self._opened: dict[str, list[_Open]] = {}
        """By worker: its open streams."""

    async def Work(self, frames: Frames, context: Context) -> AsyncIterator[queue_pb2.WorkResponse]:
        """Frames of one worker until it is drained, hangs up, or this broker no longer leads."""
        engine = self._broker.engine
        if self._streams >= self._limits.work_streams:
            raise TooManyRequests(
                f"{self._streams} workers are connected, which is the limit (work_streams): use fewer workers, "
                "each with more slots",
                retry_after_ms=1_000,
            )
        introduction = await self._introduction(frames)
        opened = introduction.open
        await self._take_the_place_of_earlier(opened)
        stream = _Open(opened)
        opened_here = self._opened.setdefault(opened.worker_id, [])
        opened_here.append(stream)
        lane = engine.heartbeats.workers.opened(
            opened.worker_id, engine.now_ms(), opened.types, opened.worker_version, opened.slots
        )
        session = WorkSession(engine, self._reader, self._ids, opened, lane)
        self._streams += 1
        try:
            # Ended before the session is: what dispatching still claims is given back only while the session is open.
            async with aclosing(
                self._served(session, introduction, frames, engine.closed, stream.replaced)
            ) as messages:
                async for message in messages:
                    yield message
        finally:
            self._streams -= 1
            engine.heartbeats.workers.closed(opened.worker_id, lane, engine.now_ms())
            opened_here.remove(stream)
            if not opened_here:
                del self._opened[opened.worker_id]
            session.close()
            stream.over.set()

    async def _take_the_place_of_earlier(self, opened: queue_pb2.WorkOpen) -> None:
        """End the streams of the same key, and give back what was sent there and never arrived."""
        if not opened.stream_key:
            return
        for earlier in list(self._opened.get(opened.worker_id, ())):
            if earlier.opened.stream_key == opened.stream_key:
                earlier.replace()
                await earlier.over.wait()
        engine = self._broker.engine
        arrived = {held.lease_token for held in opened.held}
        worker = engine.heartbeats.workers.get(opened.worker_id)
        sent = await engine.views.read(lambda state: sent_by(state, worker, opened.stream_key))
        missing = [ReleaseItem(job_id, opened.worker_id, token) for job_id, token in sent if token not in arrived]
        if missing:
            engine.give_back(Release(missing))

    async def _served(
        self,
        session: WorkSession,
        opened: queue_pb2.WorkRequest,
        frames: Frames,
        closed: "asyncio.Future[Any]",
        replaced: "asyncio.Future[None]",
    ) -> AsyncGenerator[queue_pb2.WorkResponse, None]:
        await session.open(opened.open.held)
        loop = asyncio.get_running_loop()
        reading = loop.create_task(self._read(session, opened, frames))
        dispatching = loop.create_task(session.dispatch())
        sending = loop.create_task(session.outgoing())
        try:
            while True:
                await asyncio.wait(
                    {sending, reading, dispatching, closed, replaced}, return_when=asyncio.FIRST_COMPLETED
                )
                if replaced.done() or not sending.done():
                    break
                yield sending.result()
                sending = loop.create_task(session.outgoing())
            reason = _reason(closed, reading, dispatching)
            dispatching.cancel()
            sending.cancel()  # it would take the last receipts for a message that nobody sends
            last = await session.last(reason)
            if last.ByteSize():
                yield last
            if reason is not None:
                raise anew(reason)  # the tasks, which this frame knows, keep the one they ended with
        finally:
            for task in (reading, dispatching, sending):
                task.cancel()
            await asyncio.wait({reading, dispatching, sending})
            for task in (reading, dispatching, sending):
                if not task.cancelled():
                    task.exception()  # the stream has had its reason; what failed after that is a consequence of it

    async def _introduction(self, frames: Frames) -> queue_pb2.WorkRequest:
        """The first frame, which says who the worker is."""
        async for frame in frames:
            if not frame.HasField("open"):
                break
            opened = frame.open
            limits, wrong = self._limits, Violations()
            check_name(opened.worker_id, "open.worker_id", limits.id_chars, wrong, required=True)
            check_name(opened.worker_version, "open.worker_version", limits.id_chars, wrong)
            check_name(opened.stream_key, "open.stream_key", STREAM_KEY_CHARS, wrong)
            self._types.read_all(opened.types, "open.types", limits.claim_types, wrong)
            check_number(opened.slots, "open.slots", 0, limits.work_slots, wrong)
            least_ms, most_ms = limits.lease_ms_min, limits.lease_ms_max
            check_duration(opened.lease_ms, "open.lease_ms", least_ms, most_ms, "the job's or the default", wrong)
            check_count(len(opened.held), "open.held", limits.work_slots, "work_slots", wrong)
            wrong.check()
            check_claim(opened.types)
            return frame
        raise InvalidRequest.field("open", "is missing; the first frame of a Work stream introduces the worker")

    async def _read(self, session: WorkSession, opened: queue_pb2.WorkRequest, frames: Frames) -> None:
        """Hand every frame to the session. Returns when the worker hangs up, which settles nothing."""
        await self._accept(session, opened)
        async for frame in frames:
            if frame.HasField("open"):
                raise InvalidRequest.field("open", "is set again; a stream has one introduction, in its first frame")
            await self._accept(session, frame)

    async def _accept(self, session: WorkSession, frame: queue_pb2.WorkRequest) -> None:
        wrong = Violations()
        if frame.HasField("slots"):
            check_number(frame.slots, "slots", 0, self._limits.work_slots, wrong)
        for name in ("completions", "failures", "releases"):
            check_count(len(getattr(frame, name)), name, self._limits.batch_items, "batch_items", wrong)
        check_count(len(frame.heartbeats), "heartbeats", self._limits.work_slots, "work_slots", wrong)
        wrong.check()
        await session.frame(frame)


def _reason(*ended: "asyncio.Future[Any]") -> OsqueueError | None:
    """Why the stream ends: None when the worker hung up or is drained. A bug is raised before anything else."""
    reasons = [task.exception() or task.result() for task in ended if task.done() and not task.cancelled()]
    for reason in reasons:
        if isinstance(reason, BaseException) and not isinstance(reason, OsqueueError):
            try:
                raise reason
            finally:
                del reason, reasons
    return next((reason for reason in reasons if isinstance(reason, OsqueueError)), None)
