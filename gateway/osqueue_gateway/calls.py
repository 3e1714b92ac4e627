"""One call to the broker on behalf of a caller, whatever protocol the caller speaks."""

import asyncio
import itertools
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar

from google.protobuf.message import Message

from osqueue.errors import BrokerProtocolError, OsqueueError
from osqueue_gateway.broker import Broker
from osqueue_gateway.callers import require
from osqueue_gateway.errors import overloaded
from osqueue_gateway.limits import MIB, Limits
from osqueue_gateway.server import Connection
from osqueue_protocol.rpcs import RPCS, Rpc
from osqueue_stubs.osqueue.v1 import queue_pb2

log = logging.getLogger("osqueue.gateway")

WAIT_MS_MAX = 60_000
"""The broker waits no longer, whatever was asked for."""

FIRST_FRAME_MS = 200
"""How long the answer to a watch is held back for its first frame, or its refusal: a quiet queue sends neither."""

CHECKED_BYTES = 1 * MIB
"""Smaller requests cannot be too large as protobuf: its form is never three times as long as JSON's."""


T = TypeVar("T")

CLAIMS = frozenset({"ClaimJob", "ClaimJobs"})


class Calls:
    """Bounds what is under way, and ends waits and streams when the gateway stops."""

    def __init__(self, broker: Broker, limits: Limits) -> None:
        self._broker = broker
        self._limits = limits
        self._stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._finished: asyncio.Future[None] | None = None
        self._keys = f"{secrets.token_urlsafe(16)}.", itertools.count(1)
        self._giving_back: set[asyncio.Task[None]] = set()
        self.under_way = 0
        self.waiting = 0
        self.streams = 0

    @property
    def draining(self) -> bool:
        """The gateway is about to stop."""
        return self._stopping.done()

    def drain(self) -> None:
        """End what would go on for long: waits answer as if their time were over, streams end."""
        if not self._stopping.done():
            self._stopping.set_result(None)

    async def call(self, rpc: Rpc, request: Any, timeout_ms: int | None = None) -> Any:
        """The broker's response; raises an `OsqueueError`."""
        require(rpc.scope, rpc.name)
        wait_ms = max(0, min(request.wait_ms, WAIT_MS_MAX)) if rpc.waits else 0
        allowed_ms = timeout_ms or self._limits.call_ms + wait_ms
        if wait_ms > 0:
            return await self._wait(rpc, request, allowed_ms)
        if self.under_way >= self._limits.requests:
            raise overloaded(f"{self._limits.requests} calls under way")
        self.under_way += 1
        try:
            return await self._broker.call(rpc, request, allowed_ms)
        finally:
            self.under_way -= 1
            self._tell_finished()

    async def finished(self) -> None:
        """Return when no call is under way."""
        if self.under_way or self.waiting:
            self._finished = asyncio.get_running_loop().create_future()
            await self._finished

    def _tell_finished(self) -> None:
        finished = self._finished
        if finished is not None and not finished.done() and not self.under_way and not self.waiting:
            finished.set_result(None)

    def require_size(self, request: Message, sent_bytes: int) -> None:
        """Refuse a message that the broker would refuse for its size, before it is sent there."""
        if sent_bytes > CHECKED_BYTES and request.ByteSize() > self._limits.message_bytes:
            raise BrokerProtocolError(
                f"the request is {request.ByteSize()} bytes as protobuf; at most {self._limits.message_bytes} are "
                "accepted. Split the batch",
                reason="PAYLOAD_TOO_LARGE",
            )

    @asynccontextmanager
    async def feed(self, rpc: Rpc, request: Message) -> AsyncIterator["Feed"]:
        """The messages of a server stream."""
        require(rpc.scope, rpc.name)
        if self.streams >= self._limits.streams:
            raise overloaded(f"{self._limits.streams} streams")
        self.streams += 1
        feed = Feed(self._broker.stream(rpc, request), self._stopping)
        try:
            yield feed
        finally:
            self.streams -= 1
            await feed.close()

    async def _wait(self, rpc: Rpc, request: Any, timeout_ms: int) -> Any:
        if self.waiting >= self._limits.waits:
            raise overloaded(f"{self._limits.waits} calls that wait")
        if rpc.name in CLAIMS and not request.claim_key:
            prefix, numbers = self._keys
            request.claim_key = prefix + str(next(numbers))
        call = asyncio.ensure_future(self._broker.call(rpc, request, timeout_ms))
        self.waiting += 1
        heard = False
        try:
            await asyncio.wait({call, self._stopping}, return_when=asyncio.FIRST_COMPLETED)
            if call.done():
                heard = True
                return call.result()
            if rpc.mutates:
                return rpc.response()  # an empty claim; whoever asks again finds another gateway
            request.wait_ms = 0
            return await self._broker.call(rpc, request, self._limits.call_ms)
        finally:
            self.waiting -= 1
            call.cancel()  # the broker gives back what it cannot deliver; its answer may be on its way, though
            if not heard:
                self._undelivered(rpc, request)
            del call  # its error refers to this frame, which would keep the request until the collector comes
            self._tell_finished()

    async def deliver(self, peer: Connection, rpc: Rpc, request: Any, sending: Callable[[], Awaitable[T]]) -> T:
        """Send an answer. What it leases is given back if the caller has gone before it, or goes without reading it."""
        if not self._leases(rpc, request):
            return await sending()
        sent = False
        try:
            await peer.hearing.about_to_send(peer.transport)
            answer = await sending()
            if peer.is_there:
                peer.hearing.sent(partial(self._undelivered, rpc, request))
                sent = True
            return answer
        finally:
            if not sent:
                self._undelivered(rpc, request)

    def _leases(self, rpc: Rpc, request: Any) -> bool:
        """Whether the answer leases jobs to a caller that cannot ask for them again.

        One that has a claim key of its own may repeat the claim, and is then given the same leases.
        """
        return rpc.name in CLAIMS and bool(request.claim_key.startswith(self._keys[0]))

    def _undelivered(self, rpc: Rpc, request: Any) -> None:
        """The caller has gone before its answer: give back what a claim has leased to nobody."""
        if self._leases(rpc, request):
            self.under_way += 1
            task = asyncio.ensure_future(self._give_back(rpc, request))
            self._giving_back.add(task)
            task.add_done_callback(self._giving_back.discard)

    async def _give_back(self, rpc: Rpc, request: Any) -> None:
        """Repeated by its key, the claim yields what it has leased, or at most one other job."""
        again: Any = rpc.request()
        again.CopyFrom(request)
        again.wait_ms = 0
        if rpc.name == "ClaimJobs":
            again.max_jobs = 1
        call_ms = self._limits.call_ms
        try:
            claimed = await self._broker.call(rpc, again, call_ms)
            jobs = claimed.jobs if rpc.name == "ClaimJobs" else [claimed] if claimed.job_id else []
            for job in jobs:
                release = queue_pb2.ReleaseJobRequest(
                    job_id=job.job_id,
                    worker_id=request.worker_id,
                    lease_token=job.lease_token,
                    queue=request.queue,
                )
                await self._broker.call(RPCS["ReleaseJob"], release, call_ms)
        except OsqueueError as error:  # leases that nobody renews expire, and their jobs run again
            log.info("could not give back what a claim has leased whose caller is gone; it expires: %s", error)
        finally:
            self.under_way -= 1
            self._tell_finished()


class FeedEnded(Exception):
    """There are no more messages: the broker ended the stream, or the gateway stops."""


class Feed:
    """A server stream, read one message at a time."""

    def __init__(self, messages: AsyncIterator[Any], stopping: asyncio.Future[None]) -> None:
        self._messages = messages
        self._stopping = stopping
        self._next: asyncio.Future[Any] | None = None

    async def next(self, within_ms: int | None = None) -> Any:
        """The next message; None when there is none within that time. Raises `FeedEnded`, or the stream's error."""
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._messages))
        timeout = None if within_ms is None else within_ms / 1_000
        await asyncio.wait({self._next, self._stopping}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if self._next.done():
            arrived, self._next = self._next, None
            try:
                return arrived.result()
            except StopAsyncIteration:
                raise FeedEnded from None
        if self._stopping.done():
            raise FeedEnded
        return None

    async def close(self) -> None:
        """Let go of the stream; the broker is told."""
        if self._next is not None:
            self._next.cancel()
            with suppress(asyncio.CancelledError):
                await self._next
        if isinstance(self._messages, AsyncGenerator):
            await self._messages.aclose()
