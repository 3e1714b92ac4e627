"""The gateway's way to the broker: calls by RPC, gathered into batches, and carried through a change of leaders."""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias

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
from osqueue_gateway.callers import caller
from osqueue_gateway.limits import DEFAULT_LIMITS, Limits
from osqueue_protocol.rpcs import RPCS, Rpc
from osqueue_stubs.osqueue.v1 import access_pb2, queue_pb2

PAUSE_MS = 50
"""Between two looks for a leader; each further pause is twice as long, up to `PAUSE_MS_MAX`."""

PAUSE_MS_MAX = 500

TOKENS_MAX = 256
"""Callers with a token of their own, times the queues that they use, whose calls are gathered into batches."""

BATCHED = frozenset({"SubmitJob", "CompleteJob", "Heartbeat"})
"""Calls that many callers make at once, each for one job."""

Batchers: TypeAlias = "dict[str, Coalescer[Any, Any]]"


class Link(Protocol):
    """One attempt per call at whoever leads: `osqueue.transports.grpc_link.BrokerLink`, or a broker at hand."""

    @property
    def address(self) -> str:
        """Where calls go at the moment, for people."""
        ...

    async def call(self, name: str, request: Any, timeout_ms: int, *, token: str = "") -> Any:
        """The answer of a unary RPC; raises an `OsqueueError`. `token`: another than the link's own."""
        ...

    def stream(self, name: str, request: Any, *, token: str = "") -> AsyncIterator[Any]:
        """The messages of a server stream. `token`: another than the link's own."""
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
        self.batchers = self._batchers("", "")
        """Those of callers without a token of their own, for the default queue; the others are by token and queue."""
        self._others: OrderedDict[tuple[str, str], Batchers] = OrderedDict()
        self.repeated = 0
        """Attempts after the first one, all together."""

    @property
    def address(self) -> str:
        """Where calls go at the moment."""
        return self._link.address

    async def call(self, rpc: Rpc, request: Any, timeout_ms: int) -> Any:
        """The broker's response; raises an `OsqueueError`."""
        token = caller().token
        batcher = self._batchers_of(token, request.queue).get(rpc.name) if rpc.name in BATCHED else None
        # A caller's own request id is its promise to repeat this very call: it does not survive inside a batch.
        if batcher is not None and not (rpc.name != "Heartbeat" and request.request_id):
            return await batcher.call(request, request.ByteSize())
        return await self._persist(rpc, request, timeout_ms, token)

    async def scopes_of(self, token: str) -> list[str]:
        """What the token may do, as scopes; raises an `OsqueueError`."""
        rpc, request = RPCS["WhoAmI"], access_pb2.WhoAmIRequest()
        answer = await self._through_outage(
            lambda: self._link.call(rpc.name, request, self._call_ms, token=token), True, False
        )
        return list(answer.scopes)

    async def probe(self, rpc: Rpc, request: Message, timeout_ms: int) -> Any:
        """One attempt, now: for health checks."""
        return await self._link.call(rpc.name, request, timeout_ms)

    def stream(self, rpc: Rpc, request: Message) -> AsyncIterator[Any]:
        """The messages of a server stream."""
        return self._link.stream(rpc.name, request, **_shown(caller().token))

    async def close(self) -> None:
        """Close the connections; idempotent."""
        for batchers in (self.batchers, *self._others.values()):
            for batcher in batchers.values():
                batcher.close()
        await self._link.close()

    def _batchers(self, token: str, queue: str) -> Batchers:
        return {
            "SubmitJob": Coalescer(partial(self._submit, token, queue)),
            "CompleteJob": Coalescer(partial(self._complete, token, queue)),
            "Heartbeat": Coalescer(partial(self._heartbeat, token, queue)),
        }

    def _batchers_of(self, token: str, queue: str) -> Batchers:
        """Calls of different tokens, or for different queues, never share a batch. Those of very many go one by one."""
        if not token and not queue:
            return self.batchers
        found = self._others.get((token, queue))
        if found is None:
            if len(self._others) >= TOKENS_MAX and not self._make_room():
                return {}
            found = self._others[token, queue] = self._batchers(token, queue)
        self._others.move_to_end((token, queue))
        return found

    def _make_room(self) -> bool:
        key, oldest = next(iter(self._others.items()))
        if any(batcher.waiting or batcher.in_flight for batcher in oldest.values()):
            return False
        del self._others[key]
        return True

    async def _persist(self, rpc: Rpc, request: Any, timeout_ms: int, token: str) -> Any:
        if "request_id" in rpc.once_by and not request.request_id:
            request.request_id = secrets.token_urlsafe(16)
        safe = rpc.may_repeat(request)
        shown = _shown(token)
        return await self._through_outage(
            lambda: self._link.call(rpc.name, request, timeout_ms, **shown), safe, rpc.mutates
        )

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

    async def _submit(self, token: str, queue: str, jobs: list[Any]) -> Sequence[Any]:
        request = queue_pb2.SubmitJobsRequest(jobs=jobs, atomic=False, queue=queue)
        return await self._batch(RPCS["SubmitJobs"], request, "submitted", token)

    async def _complete(self, token: str, queue: str, completions: list[Any]) -> Sequence[Any]:
        request = queue_pb2.CompleteJobsRequest(completions=completions, queue=queue)
        return await self._batch(RPCS["CompleteJobs"], request, "completed", token)

    async def _heartbeat(self, token: str, queue: str, heartbeats: list[Any]) -> Sequence[Any]:
        request = queue_pb2.HeartbeatJobsRequest(heartbeats=heartbeats, queue=queue)
        answer = await self._through_outage(
            lambda: self._link.call("HeartbeatJobs", request, self._call_ms, **_shown(token)), True, False
        )
        return [_renewal(result, answer) for result in answer.results]

    async def _batch(self, rpc: Rpc, request: Any, outcome: str, token: str) -> Sequence[Any]:
        answer = await self._persist(rpc, request, self._call_ms, token)
        return [_outcome(result, outcome, answer) for result in answer.results]


def _shown(token: str) -> dict[str, str]:
    return {"token": token} if token else {}


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
