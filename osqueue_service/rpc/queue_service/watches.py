"""WatchJobs: what happens to jobs, as it becomes durable."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from osqueue_service.clock import Clock, Timer
from osqueue_service.engine.engine import Engine
from osqueue_service.engine.events import JobEvent, Subscription
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import TypeNames, Violations, check_count, check_name, check_number
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import durable_position, view_position
from osqueue_service.rpc.queue_service.stats import stats_response
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2

EVENTS_PER_MESSAGE = 500
INTERVAL_MS_MIN = 100
INTERVAL_MS_MAX = 3_600_000


class Watches:
    """Serves WatchJobs."""

    def __init__(self, broker: Broker, types: TypeNames, clock: Clock) -> None:
        self._broker = broker
        self._limits = broker.limits
        self._types = types
        self._clock = clock

    async def WatchJobs(
        self, request: queue_pb2.WatchJobsRequest, context: Context
    ) -> AsyncIterator[queue_pb2.WatchJobsResponse]:
        engine = self._broker.engine
        wanted = self._wanted(request)
        watch = engine.views.watch(wanted)
        ticks = Ticks(self._clock, request.stats_interval_ms)
        try:
            first = self._first(engine, request)
            await engine.settled()
            yield first
            while True:
                await _either(watch, ticks)
                for message in self._news(engine, watch, ticks):
                    yield message
        finally:
            ticks.stop()
            engine.views.unwatch(watch)

    def _first(self, engine: Engine, request: queue_pb2.WatchJobsRequest) -> queue_pb2.WatchJobsResponse:
        """Where the watch begins, and whether that leaves a gap. To be told when that is durable: of what was under way
        when the watch began nothing is told."""
        first = queue_pb2.WatchJobsResponse(position=view_position(engine))
        if request.HasField("after"):
            after, position = request.after, first.position
            if after.epoch != position.epoch:
                _resync(first, queue_pb2.RESYNC_REASON_NEW_LEADER, "another broker leads since then")
            elif after.sequence != position.sequence:
                _resync(first, queue_pb2.RESYNC_REASON_GAP, "there were commits between then and now")
        if request.stats_interval_ms:
            first.stats.CopyFrom(stats_response(self._broker, engine))
        return first

    def _news(self, engine: Engine, watch: Subscription, ticks: "Ticks") -> list[queue_pb2.WatchJobsResponse]:
        """The messages for what has arrived."""
        events, missed = watch.take()
        messages = []
        for start in range(0, len(events), EVENTS_PER_MESSAGE):
            part = [_event(event) for event in events[start : start + EVENTS_PER_MESSAGE]]
            messages.append(queue_pb2.WatchJobsResponse(events=part))
        if not messages:
            messages.append(queue_pb2.WatchJobsResponse())
        if missed:
            buffered = f"more than {self._limits.watch_events} events waited to be read (watch_events)"
            _resync(messages[0], queue_pb2.RESYNC_REASON_GAP, f"{buffered}, so some were dropped: list again")
        if ticks.take():
            messages[-1].stats.CopyFrom(stats_response(self._broker, engine))
        # Not the last durable commit: a leader that leaves sends its watchers away before its last commits are durable.
        messages[-1].position.CopyFrom(durable_position(engine, watch.sequence))
        return messages

    def _wanted(self, request: queue_pb2.WatchJobsRequest) -> Callable[[JobEvent], bool]:
        limits, wrong = self._limits, Violations()
        check_count(len(request.job_ids), "job_ids", limits.batch_items, "batch_items", wrong)
        for position, job_id in enumerate(request.job_ids[: limits.batch_items]):
            check_name(job_id, f"job_ids[{position}]", limits.id_chars, wrong, required=True)
        types = frozenset(self._types.read_all(request.types, "types", limits.claim_types, wrong))
        if request.stats_interval_ms:
            interval_ms = request.stats_interval_ms
            check_number(interval_ms, "stats_interval_ms", INTERVAL_MS_MIN, INTERVAL_MS_MAX, wrong, " ms")
        wrong.check()
        return _filter(request.job_ids, types)


class Ticks:
    """Says when it is time for statistics; never, with an interval of 0."""

    def __init__(self, clock: Clock, interval_ms: int) -> None:
        self._clock = clock
        self._interval_ms = interval_ms
        self._due = asyncio.Event()
        self._timer: Timer | None = None
        self._arm()

    async def due(self) -> None:
        """Return when it is time."""
        await self._due.wait()

    def take(self) -> bool:
        """Whether it is time; if so, wait for the next."""
        was_due = self._due.is_set()
        if was_due:
            self._due.clear()
            self._arm()
        return was_due

    def stop(self) -> None:
        """Never again."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        if self._interval_ms:
            self._timer = self._clock.call_later_ms(self._interval_ms, self._due.set)


async def _either(watch: Subscription, ticks: Ticks) -> None:
    """Return when there is something to send."""
    loop = asyncio.get_running_loop()
    waits = {loop.create_task(watch.arrival()), loop.create_task(ticks.due())}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _filter(job_ids: Sequence[str], types: frozenset[str]) -> Callable[[JobEvent], bool]:
    ids = frozenset(job_ids)
    if not ids and not types:
        return lambda event: True
    return lambda event: (not ids or event.job_id in ids) and (not types or event.type in types)


def _resync(message: queue_pb2.WatchJobsResponse, reason: queue_pb2.ResyncReason.ValueType, explanation: str) -> None:
    message.resync.reason, message.resync.message = reason, explanation


def _event(event: JobEvent) -> queue_pb2.JobEvent:
    message = queue_pb2.JobEvent(
        kind=queue_pb2.JobEventKind.ValueType(int(event.kind)),
        job_id=event.job_id,
        type=event.type,
        status=event.status.wire,
        worker_id=event.worker_id,
        attempt=event.attempt,
        at=event.at,
        run_at=event.run_at,
    )
    if event.error_type or event.error_message:
        message.error.CopyFrom(job_pb2.JobError(type=event.error_type, message=event.error_message))
    if event.fraction or event.message:
        message.progress.CopyFrom(job_pb2.Progress(fraction=event.fraction, message=event.message, updated_at=event.at))
    return message
