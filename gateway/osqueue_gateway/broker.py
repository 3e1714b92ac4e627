"""The gateway's way to the broker: calls by RPC, gathered into batches, and carried through a change of leaders."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Protocol

from google.protobuf.message import Message

from osqueue.api.item_errors import from_item_error
from osqueue.coalescing import Coalescer
from osqueue.errors import (
    OUTCOME_UNKNOWN,
    BrokerLeadershipError,
    EngineStateError,
    OsqueueError,
    TransportConnectionError,
)
from osqueue_gateway.limits import DEFAULT_LIMITS, Limits
from osqueue_protocol.rpcs import RPCS, Rpc
from osqueue_stubs.osqueue.v1 import queue_pb2

PAUSE_MS = 50
"""Between two looks for a leader; each further pause is twice as long, up to `PAUSE_MS_MAX`."""

PAUSE_MS_MAX = 500


class Link(Protocol):
    """One attempt per call at whoever leads: `osqueue.transports.grpc_link.BrokerLink`, or a broker at hand."""

    @property
    def address(self) -> str:
        """Where calls go at the moment, for people."""
        ...

    async def call(self, name: str, request: Any, timeout_ms: int) -> Any:
        """The answer of a unary RPC; raises an `OsqueueError`."""
        ...

    def stream(self, name: str, request: Any) -> AsyncIterator[Any]:
        """The messages of a server stream."""
        ...

    async def close(self) -> None:
        """Close what is open; idempotent."""
        ...


class Broker:
    """Calls for the gateway's callers. Submits, completions and heartbeats of many callers share batches."""

    def __init__(self, link: Link, limits: Limits = DEFAULT_LIMITS) -> None:
        self._link = link
        self._outage_s = limits.outage_ms / 1_000
        self._call_ms = limits.call_ms
        self.batchers: dict[str, Coalescer[Any, Any]] = {
            "SubmitJob": Coalescer(self._submit),
            "CompleteJob": Coalescer(self._complete),
            "Heartbeat": Coalescer(self._heartbeat),
        }
        self.repeated = 0
        """Attempts after the first one, all together."""

    @property
    def address(self) -> str:
        """Where calls go at the moment."""
        return self._link.address

    async def call(self, rpc: Rpc, request: Any, timeout_ms: int) -> Any:
        """The broker's response; raises an `OsqueueError`."""
        batcher = self.batchers.get(rpc.name)
        # A caller's own request id is its promise to repeat this very call: it does not survive inside a batch.
        if batcher is not None and not (rpc.name != "Heartbeat" and request.request_id):
            return await batcher.call(request, request.ByteSize())
        return await self._persist(rpc, request, timeout_ms)

    async def probe(self, rpc: Rpc, request: Message, timeout_ms: int) -> Any:
        """One attempt, now: for health checks."""
        return await self._link.call(rpc.name, request, timeout_ms)

    def stream(self, rpc: Rpc, request: Message) -> AsyncIterator[Any]:
        """The messages of a server stream."""
        return self._link.stream(rpc.name, request)

    async def close(self) -> None:
        """Close the connections; idempotent."""
        for batcher in self.batchers.values():
            batcher.close()
        await self._link.close()

    async def _persist(self, rpc: Rpc, request: Any, timeout_ms: int) -> Any:
        if "request_id" in rpc.once_by and not request.request_id:
            request.request_id = secrets.token_urlsafe(16)
        safe = rpc.may_repeat(request)
        return await self._through_outage(lambda: self._link.call(rpc.name, request, timeout_ms), safe, rpc.mutates)

    async def _through_outage(self, attempt: Callable[[], Awaitable[Any]], safe: bool, mutates: bool) -> Any:
        """Repeat what an absent or changing leader could not answer, for as long as a hand-over takes.

        A call that is not `safe` to repeat is repeated only when it certainly did not happen. One that `mutates`, and
        that may have happened at one attempt, is not known to have had no effect by what a later one says.
        """
        unknown = ""
        clock = asyncio.get_running_loop().time
        patience_ends = clock() + self._outage_s
        pause_ms = PAUSE_MS
        while True:
            try:
                return await attempt()
            except (BrokerLeadershipError, TransportConnectionError, EngineStateError) as error:
                if mutates and _may_have_happened(error):
                    unknown = error.message
                if not _may_repeat(error, safe) or clock() >= patience_ends:
                    if unknown and not _may_have_happened(error):
                        message = f"{unknown}. Later: {error.message}"
                        raise EngineStateError(message, reason=OUTCOME_UNKNOWN) from None
                    raise
                at_once = error.retry_after_ms == 0
            self.repeated += 1
            if not at_once:
                await asyncio.sleep(pause_ms / 1_000)
                pause_ms = min(2 * pause_ms, PAUSE_MS_MAX)

    async def _submit(self, jobs: list[Any]) -> Sequence[Any]:
        request = queue_pb2.SubmitJobsRequest(jobs=jobs, atomic=False)
        return await self._batch(RPCS["SubmitJobs"], request, "submitted")

    async def _complete(self, completions: list[Any]) -> Sequence[Any]:
        request = queue_pb2.CompleteJobsRequest(completions=completions)
        return await self._batch(RPCS["CompleteJobs"], request, "completed")

    async def _heartbeat(self, heartbeats: list[Any]) -> Sequence[Any]:
        request = queue_pb2.HeartbeatJobsRequest(heartbeats=heartbeats)
        answer = await self._through_outage(
            lambda: self._link.call("HeartbeatJobs", request, self._call_ms), True, False
        )
        return [_renewal(result, answer) for result in answer.results]

    async def _batch(self, rpc: Rpc, request: Any, outcome: str) -> Sequence[Any]:
        answer = await self._persist(rpc, request, self._call_ms)
        return [_outcome(result, outcome, answer) for result in answer.results]


def _outcome(result: Any, name: str, answer: Any) -> Any:
    if not result.HasField(name):
        return from_item_error(result.error)
    found = getattr(result, name)
    if answer.HasField("commit"):
        found.commit.CopyFrom(answer.commit)
    return found


def _renewal(result: Any, answer: Any) -> Any:
    if not result.HasField("renewed"):
        return from_item_error(result.error)
    result.renewed.position.CopyFrom(answer.position)
    return result.renewed


def _may_repeat(error: OsqueueError, safe: bool) -> bool:
    if isinstance(error, BrokerLeadershipError):
        return True
    if isinstance(error, EngineStateError):
        return safe and error.reason == OUTCOME_UNKNOWN
    return safe or never_sent(error)


def _may_have_happened(error: OsqueueError) -> bool:
    if isinstance(error, EngineStateError):
        return error.reason == OUTCOME_UNKNOWN
    return isinstance(error, TransportConnectionError) and not never_sent(error)


def never_sent(error: OsqueueError) -> bool:
    """The broker could not even be connected to, so that nothing can have happened."""
    return isinstance(error, TransportConnectionError) and "failed to connect" in error.message.lower()
