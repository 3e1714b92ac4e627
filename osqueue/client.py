"""The asynchronous client of a queue."""

import asyncio
import copy
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

from osqueue.admin import Admin
from osqueue.background import BackgroundClient
from osqueue.calls.batches import BatchCalls
from osqueue.calls.leasing import LeaseCalls
from osqueue.calls.reading import ReadCalls
from osqueue.calls.steering import SteerCalls
from osqueue.calls.submitting import SubmitCalls
from osqueue.calls.workflows import WorkflowCalls
from osqueue.codecs.envelope import Codec
from osqueue.codecs.pipeline import Pipeline
from osqueue.connecting import connect, credentials, in_queue
from osqueue.credentials import TokenProvider
from osqueue.discovery import RootReader
from osqueue.errors import ConfigError, TransportConfigError, TransportConnectionError
from osqueue.fairness import Fairness
from osqueue.limits import Limits
from osqueue.queues import Queues
from osqueue.registry import Registry
from osqueue.retrying import RetryOptions
from osqueue.schedules import Schedules
from osqueue.session import Session
from osqueue.submission import text
from osqueue.submit_middleware import AroundSubmits, SubmitMiddleware
from osqueue.tokens import Tokens
from osqueue.transports.protocol import Transport


@dataclass(slots=True, frozen=True)
class ClientState:
    """What a client is doing, for people and metrics. Counters start when it connects."""

    connected: bool
    transport: str = ""
    address: str = ""
    waiting: int = 0
    batches_in_flight: int = 0
    batches: int = 0
    items: int = 0
    retries: int = 0
    last_error: str = ""


class OsqueueClient(SubmitCalls, LeaseCalls, ReadCalls, SteerCalls, WorkflowCalls, BatchCalls):
    """Submits, claims, settles and observes jobs.

        async with OsqueueClient("grpc://localhost:8081") as client:
            job = await client.submit_job("email", {"to": "ada@example.org"})
            print(await job.result(timeout_ms=30_000))

    `broker_url` is `grpc://host:port` (a broker; several separated by commas), `http(s)://` or `ws(s)://` (a gateway);
    without one, BROKER_URL, or a broker on this machine. `storage`, anything with `async read(key) -> bytes | None`,
    finds the leader in the queue's own `queue.json` under `prefix` and follows it. `transport` is "grpc", "rest", "ws",
    "connect" or an object of your own. `token` defaults to OSQUEUE_TOKEN; it may be a function, or coroutine function,
    that gives one, and is asked again every 10 s and after a refusal, in whatever thread and event loop a token is
    needed. `token_file` (OSQUEUE_TOKEN_FILE) is read again when it changes. `tls_ca_file` names authorities to trust
    instead of the system's, `tls_cert_file` and `tls_key_file` the client's own certificate (OSQUEUE_TLS_CA_FILE,
    OSQUEUE_TLS_CLIENT_CERT_FILE, OSQUEUE_TLS_CLIENT_KEY_FILE).

    `codecs` encode payloads and results before they leave, and decode what comes: see `osqueue.codecs`.

    `queue` is the name of the queue that it works in, "" the default queue; `client.queue(name)` is a client of
    another one over the same connections. `registry` holds the job types that it knows, `admin` an operator's calls,
    `limits` what jobs are under, `fairness` whose turn it is, `tokens` who may call, `schedules` jobs with a timetable,
    `queues` those with names.

    It connects with its first call, and then belongs to that process and event loop. Concurrent `submit_job`,
    `complete_job` and `heartbeat` calls travel together in batches, unless `coalesce` is off. What may pass is retried,
    safely: `RetryOptions` gives the meaning of `timeout_ms`, `max_retries`, `retry_delay_ms` and `retry_deadline_ms`.
    """

    def __init__(
        self,
        broker_url: str | Sequence[str] | None = None,
        *,
        storage: RootReader | None = None,
        prefix: str = "",
        transport: str | Transport | None = None,
        registry: Registry | None = None,
        token: str | TokenProvider | None = None,
        token_file: str = "",
        timeout_ms: int = 5_000,
        max_retries: int = 3,
        retry_delay_ms: int = 1_000,
        retry_deadline_ms: int = 60_000,
        coalesce: bool = True,
        queue: str = "",
        codecs: Codec | Sequence[Codec] = (),
        tls_ca_file: str = "",
        tls_cert_file: str = "",
        tls_key_file: str = "",
    ) -> None:
        self._around = AroundSubmits()
        self.registry = registry if registry is not None else Registry()
        self.options = RetryOptions(timeout_ms, max_retries, retry_delay_ms, retry_deadline_ms)
        self.admin = Admin(self._open)
        self.tokens = Tokens(self._open)
        self.limits = Limits(self._open)
        self.fairness = Fairness(self._open)
        self.schedules = Schedules(self._open)
        self.queues = Queues(self._open)
        shown = credentials(token, token_file, tls_ca_file, tls_cert_file, tls_key_file)
        self._connector = connect(
            broker_url,
            storage=storage,
            prefix=prefix,
            transport=transport,
            credentials=shown,
            queue=text("queue", queue),
        )
        self._coalesce = coalesce
        self._codecs = Pipeline(codecs)
        self._session: Session | None = None
        self._beside: weakref.WeakSet[Transport] = weakref.WeakSet()
        """The transports beside its own: a worker's jobs come over one of them."""
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Finish the calls under way, within `timeout_ms`, and disconnect; idempotent. No call may follow."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None and session.is_current():
            await session.close()

    def state(self) -> ClientState:
        """What the client is doing."""
        session = self._session
        if session is None:
            return ClientState(connected=False)
        coalescers = session.coalescers
        return ClientState(
            connected=True,
            transport=session.transport.name,
            address=session.transport.address or next((beside.address for beside in self._beside), ""),
            waiting=sum(coalescer.waiting for coalescer in coalescers),
            batches_in_flight=sum(coalescer.in_flight for coalescer in coalescers),
            batches=sum(coalescer.batches for coalescer in coalescers),
            items=sum(coalescer.items for coalescer in coalescers),
            retries=session.retrying.retries,
            last_error=str(session.retrying.last_error or ""),
        )

    def use(self, middleware: SubmitMiddleware) -> SubmitMiddleware:
        """Run this around every submission, inside what was added before; `osqueue.submit_middleware` explains. Returns
        it, so that it is a decorator, too."""
        self._around.add(middleware)
        return middleware

    def queue(self, name: str) -> "OsqueueClient":
        """A client of the queue with this name, over this client's connections; "" is the queue that this one works in.
        It has the same options and job types, belongs to the same event loop, and ends with this one."""
        text("name", name)
        twin = self._twin()
        if name:
            twin._connector = in_queue(self._connector, name, lambda: self._open().transport)
        return twin

    def new_transport(self) -> Transport:
        """A transport of its own to the same broker, for use in another event loop; the caller closes it."""
        transport = self._connector.another()
        self._beside.add(transport)
        return transport

    def _twin(self) -> "OsqueueClient":
        """Another one like this, not connected yet."""
        twin = copy.copy(self)
        twin.admin, twin.tokens, twin.schedules = Admin(twin._open), Tokens(twin._open), Schedules(twin._open)
        twin.limits, twin.fairness, twin.queues = Limits(twin._open), Fairness(twin._open), Queues(twin._open)
        twin._session, twin._beside, twin._closed = None, weakref.WeakSet(), False
        return twin

    def _reached_by_others(self) -> dict[str, Any] | None:
        """How another process connects to the same broker, as a guard is told; None when it cannot."""
        told = self._connector.told
        return told if told is None or told["endpoints"] else {**told, "endpoints": [self.state().address]}

    def _open(self) -> Session:
        session = self._session
        if session is not None and session.is_current():
            return session
        if self._closed:
            raise TransportConnectionError("the client is closed")
        if session is not None:
            if session.pid != os.getpid():
                raise TransportConfigError(
                    f"this client connected in process {session.pid} and cannot be used in its fork {os.getpid()}: "
                    "connect only after the fork, or start processes with the spawn method"
                )
            if not session.loop.is_closed():
                raise TransportConfigError(
                    "this client belongs to another event loop that still runs: make one client per loop, "
                    "or use osqueue.sync from other threads"
                )
        asyncio.get_running_loop()  # a clear RuntimeError before anything is made
        self._session = Session(self._connector.own(), self.options, self._coalesce, self._codecs)
        return self._session


def asynchronous(client: object) -> OsqueueClient:
    """The client, if a worker can use it; `ConfigError` says what it needs instead."""
    if isinstance(client, BackgroundClient):
        raise ConfigError(
            "a worker needs the asynchronous client: Worker(OsqueueClient(...)). Without an event loop, "
            "worker.run_sync() runs it, and its handlers may be plain functions"
        )
    if isinstance(client, str):  # not shown: it is an address, and may hold what is secret
        raise ConfigError("a worker takes a client, not an address: Worker(OsqueueClient(address))")
    if not hasattr(client, "claim_jobs"):
        raise ConfigError(f"a worker takes a client: Worker(OsqueueClient(...)), got {type(client).__name__}")
    return cast(OsqueueClient, client)
