"""The synchronous client: the same methods, from programs without an event loop.

    from osqueue.sync import SyncClient

    with SyncClient("grpc://localhost:8081") as client:
        job = client.submit_job("email", {"to": "ada@example.org"})
        print(job.result(timeout_ms=30_000))

It runs an `OsqueueClient` in a loop of its own, in a background thread, and may be used from
any number of threads: what they submit at the same time travels together.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, Literal, Self, TypeVar, Unpack, overload

from osqueue.calls.steering import Changes
from osqueue.client import ClientState, OsqueueClient
from osqueue.discovery import RootReader
from osqueue.errors import OsqueueError, TransportConfigError, TransportConnectionError
from osqueue.handle import JobHandle
from osqueue.job import ClaimedJob, HoldsLease, Job, JobError, JobFilter, JobStatus, Position
from osqueue.messages import Change, Explanation, JobEvent, JobSpec, JobView, Renewal, Resync, Settled, Stats
from osqueue.registry import JobType, Registry
from osqueue.submission import SubmitOptions
from osqueue.transports.protocol import Transport

P = TypeVar("P")
R = TypeVar("R")
T = TypeVar("T")

Types = Iterable[str | JobType[Any, Any]]


class _Loop:
    """An event loop in a daemon thread, started when it is first needed."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._lock = threading.Lock()
        self._closed = False

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's outcome. Interrupted, it is cancelled."""
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._started())
        except BaseException:
            coroutine.close()
            raise
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """The items, fetched one by one as they are asked for."""
        try:
            while True:
                try:
                    item = self.run(_next(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            self.run(_close(items))

    def close(self) -> None:
        with self._lock:
            self._closed = True
            loop, self._loop = self._loop, None
        if loop is not None and self._pid == os.getpid():
            loop.call_soon_threadsafe(loop.stop)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise TransportConnectionError("the client is closed")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._pid = os.getpid()
                threading.Thread(target=_serve, args=(self._loop,), name="osqueue-client", daemon=True).start()
            elif self._pid != os.getpid():
                raise TransportConfigError(
                    f"this client connected in process {self._pid} and cannot be used in its fork {os.getpid()}: "
                    "make the client after the fork"
                )
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)


async def _close(items: AsyncIterator[Any]) -> None:
    close = getattr(items, "aclose", None)
    if close is not None:
        await close()


class SyncJobHandle(Generic[R]):
    """`JobHandle`, for programs without an event loop."""

    __slots__ = ("_handle", "_loop")

    def __init__(self, handle: JobHandle[R], loop: _Loop) -> None:
        self._handle = handle
        self._loop = loop

    def __repr__(self) -> str:
        return repr(self._handle)

    @property
    def id(self) -> str:
        """The job's id."""
        return self._handle.id

    @property
    def deduplicated(self) -> bool:
        """An earlier submission with the same idempotency key had made this job."""
        return self._handle.deduplicated

    def result(self, timeout_ms: int | None = None) -> R:
        """See `JobHandle.result`."""
        return self._loop.run(self._handle.result(timeout_ms))

    def status(self) -> JobStatus:
        """See `JobHandle.status`."""
        return self._loop.run(self._handle.status())

    def job(self) -> Job:
        """See `JobHandle.job`."""
        return self._loop.run(self._handle.job())

    def cancel(self) -> Change:
        """See `JobHandle.cancel`."""
        return self._loop.run(self._handle.cancel())


class SyncClient:
    """`OsqueueClient`, for programs without an event loop: same arguments, same methods, same errors."""

    def __init__(
        self,
        broker_url: str | Sequence[str] | None = None,
        *,
        storage: RootReader | None = None,
        prefix: str = "",
        transport: str | Transport | None = None,
        registry: Registry | None = None,
        token: str | None = None,
        timeout_ms: int = 5_000,
        max_retries: int = 3,
        retry_delay_ms: int = 1_000,
        retry_deadline_ms: int = 60_000,
        coalesce: bool = True,
    ) -> None:
        self._client = OsqueueClient(
            broker_url,
            storage=storage,
            prefix=prefix,
            transport=transport,
            registry=registry,
            token=token,
            timeout_ms=timeout_ms,
            max_retries=max_retries,
            retry_delay_ms=retry_delay_ms,
            retry_deadline_ms=retry_deadline_ms,
            coalesce=coalesce,
        )
        self._loop = _Loop()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def registry(self) -> Registry:
        """The job types this client knows."""
        return self._client.registry

    def close(self) -> None:
        """Finish the calls under way, and disconnect; idempotent."""
        if not self._closed:
            self._closed = True
            self._loop.run(self._client.close())
            self._loop.close()

    def state(self) -> ClientState:
        """What the client is doing."""
        return self._client.state()

    # --- producing ---------------------------------------------------------------------------------------------------

    @overload
    def submit_job(self, job_type: JobType[P, R], payload: P, **options: Unpack[SubmitOptions]) -> SyncJobHandle[R]: ...
    @overload
    def submit_job(self, job_type: str, payload: object, **options: Unpack[SubmitOptions]) -> SyncJobHandle[Any]: ...
    def submit_job(self, job_type: Any, payload: Any, **options: Unpack[SubmitOptions]) -> SyncJobHandle[Any]:
        """See `OsqueueClient.submit_job`."""
        return SyncJobHandle(self._loop.run(self._client.submit_job(job_type, payload, **options)), self._loop)

    @overload
    def submit_jobs(self, jobs: Iterable[JobSpec], *, atomic: Literal[True] = ...) -> list[SyncJobHandle[Any]]: ...
    @overload
    def submit_jobs(self, jobs: Iterable[JobSpec], *, atomic: bool) -> list[SyncJobHandle[Any] | OsqueueError]: ...
    def submit_jobs(self, jobs: Iterable[JobSpec], *, atomic: bool = True) -> Any:
        """See `OsqueueClient.submit_jobs`."""
        handles = self._loop.run(self._client.submit_jobs(jobs, atomic=atomic))
        return [one if isinstance(one, OsqueueError) else SyncJobHandle(one, self._loop) for one in handles]

    @overload
    def submit_and_wait(
        self, job_type: JobType[P, R], payload: P, *, wait_ms: int | None = ..., **options: Unpack[SubmitOptions]
    ) -> R: ...
    @overload
    def submit_and_wait(
        self, job_type: str, payload: object, *, wait_ms: int | None = ..., **options: Unpack[SubmitOptions]
    ) -> Any: ...
    def submit_and_wait(
        self, job_type: Any, payload: Any, *, wait_ms: int | None = 30_000, **options: Unpack[SubmitOptions]
    ) -> Any:
        """See `OsqueueClient.submit_and_wait`."""
        return self._loop.run(self._client.submit_and_wait(job_type, payload, wait_ms=wait_ms, **options))

    # --- working -----------------------------------------------------------------------------------------------------

    def claim_job(
        self, worker_id: str, types: Types = (), *, wait_ms: int = 0, lease_ms: int = 0, claim_key: str = ""
    ) -> ClaimedJob | None:
        """See `OsqueueClient.claim_job`."""
        return self._loop.run(
            self._client.claim_job(worker_id, types, wait_ms=wait_ms, lease_ms=lease_ms, claim_key=claim_key)
        )

    def claim_jobs(
        self,
        worker_id: str,
        types: Types = (),
        *,
        max_jobs: int = 1,
        max_bytes: int = 0,
        wait_ms: int = 0,
        lease_ms: int = 0,
        claim_key: str = "",
        worker_version: str = "",
    ) -> list[ClaimedJob]:
        """See `OsqueueClient.claim_jobs`."""
        return self._loop.run(
            self._client.claim_jobs(
                worker_id,
                types,
                max_jobs=max_jobs,
                max_bytes=max_bytes,
                wait_ms=wait_ms,
                lease_ms=lease_ms,
                claim_key=claim_key,
                worker_version=worker_version,
            )
        )

    def heartbeat(self, job: HoldsLease, *, progress: float | None = None, message: str = "") -> Renewal:
        """See `OsqueueClient.heartbeat`."""
        return self._loop.run(self._client.heartbeat(job, progress=progress, message=message))

    def complete_job(self, job: HoldsLease, result: object = None) -> None:
        """See `OsqueueClient.complete_job`."""
        self._loop.run(self._client.complete_job(job, result))

    def fail_job(
        self,
        job: HoldsLease,
        error: JobError | BaseException | str,
        *,
        retryable: bool = True,
        retry_delay_ms: int | None = None,
    ) -> Settled:
        """See `OsqueueClient.fail_job`."""
        return self._loop.run(self._client.fail_job(job, error, retryable=retryable, retry_delay_ms=retry_delay_ms))

    def release_job(self, job: HoldsLease) -> Settled:
        """See `OsqueueClient.release_job`."""
        return self._loop.run(self._client.release_job(job))

    # --- observing and steering --------------------------------------------------------------------------------------

    def get_job(self, job_id: str, *, linearizable: bool = False) -> Job:
        """See `OsqueueClient.get_job`."""
        return self._loop.run(self._client.get_job(job_id, linearizable=linearizable))

    def wait_job(self, job_id: str, timeout_ms: int | None = None) -> Job:
        """See `OsqueueClient.wait_job`."""
        return self._loop.run(self._client.wait_job(job_id, timeout_ms))

    def list_jobs(
        self,
        *,
        statuses: Iterable[JobStatus] = (),
        types: Types = (),
        worker_id: str = "",
        created_from: datetime | int = 0,
        created_before: datetime | int = 0,
        metadata: Mapping[str, str] | None = None,
        error_type: str = "",
        view: JobView = "",
        page_size: int = 0,
        linearizable: bool = False,
    ) -> Iterator[Job]:
        """See `OsqueueClient.list_jobs`."""
        return self._loop.iterate(
            self._client.list_jobs(
                statuses=statuses,
                types=types,
                worker_id=worker_id,
                created_from=created_from,
                created_before=created_before,
                metadata=metadata,
                error_type=error_type,
                view=view,
                page_size=page_size,
                linearizable=linearizable,
            )
        )

    def get_stats(self, *, linearizable: bool = False) -> Stats:
        """See `OsqueueClient.get_stats`."""
        return self._loop.run(self._client.get_stats(linearizable=linearizable))

    def explain_job(self, job_id: str) -> Explanation:
        """See `OsqueueClient.explain_job`."""
        return self._loop.run(self._client.explain_job(job_id))

    def watch(
        self,
        *,
        job_ids: Iterable[str] = (),
        types: Types = (),
        stats_interval_ms: int = 0,
        after: Position | None = None,
    ) -> Iterator[JobEvent | Stats | Resync]:
        """See `OsqueueClient.watch`."""
        return self._loop.iterate(
            self._client.watch(job_ids=job_ids, types=types, stats_interval_ms=stats_interval_ms, after=after)
        )

    def cancel_job(self, job_id: str) -> Change:
        """See `OsqueueClient.cancel_job`."""
        return self._loop.run(self._client.cancel_job(job_id))

    def cancel_jobs(
        self, job_ids: Iterable[str] = (), *, matching: JobFilter | None = None, dry_run: bool = False
    ) -> Changes:
        """See `OsqueueClient.cancel_jobs`."""
        return self._loop.run(self._client.cancel_jobs(job_ids, matching=matching, dry_run=dry_run))

    def retry_jobs(
        self, job_ids: Iterable[str] = (), *, matching: JobFilter | None = None, dry_run: bool = False
    ) -> Changes:
        """See `OsqueueClient.retry_jobs`."""
        return self._loop.run(self._client.retry_jobs(job_ids, matching=matching, dry_run=dry_run))
