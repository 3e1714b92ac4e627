"""GetStats."""

from itertools import islice

from osqueue_service.engine.engine import Engine
from osqueue_service.engine.figures import RATE_WINDOW_MS, Rates
from osqueue_service.engine.totals import KeyTotals, Totals, TypeTotals, live_count, totals_of
from osqueue_service.engine.workers import LATELY_MS
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import check_live, durable_position, view_position
from osqueue_service.state.fairness import DEFAULT_WEIGHT
from osqueue_service.state.model import Status
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2

_INT32_MAX = 2**31 - 1

WORKERS_COUNTED_MAX = 100
"""Workers per type are counted up to here in statistics."""


class Stats:
    """Serves GetStats."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def GetStats(self, request: queue_pb2.GetStatsRequest, context: Context) -> queue_pb2.GetStatsResponse:
        engine = self._broker.engine
        if request.linearizable:
            totals, position = await engine.views.read(
                lambda state: (totals_of(state), view_position(engine)), linearizable=True
            )
        else:
            check_live(engine)
            totals, position = engine.views.totals, durable_position(engine)
        return stats_of(self._broker, engine, totals, position)


def saturated(count: int) -> int:
    """The count as far as 32 bits go; 64-bit fields stand beside every such field."""
    return min(count, _INT32_MAX)


def job_counts(totals: Totals) -> job_pb2.JobCounts:
    """All counts in 64 bits."""
    counters = totals.counters
    return job_pb2.JobCounts(
        total=totals.live,
        unclaimed=totals.unclaimed,
        scheduled=totals.scheduled,
        in_progress=totals.in_progress,
        dead=totals.dead,
        cancelled=totals.cancelled,
        completed=totals.completed,
        blocked=totals.blocked,
        submitted_total=counters.submitted,
        completed_total=counters.completed,
        dead_total=counters.died,
        cancelled_total=counters.cancelled,
        purged_total=counters.purged,
        evicted_total=counters.evicted,
    )


def stats_response(broker: Broker, engine: Engine) -> queue_pb2.GetStatsResponse:
    """The statistics as of the last durable commit, given at once."""
    return stats_of(broker, engine, engine.views.totals, durable_position(engine))


def stats_of(
    broker: Broker, engine: Engine, totals: Totals, position: job_pb2.ReadPosition
) -> queue_pb2.GetStatsResponse:
    """These totals, with the figures by type and the rates of now."""
    now_ms = engine.now_ms()
    breakdown = engine.views.breakdown()
    types = breakdown.types
    since = min((figures.ready_since for figures in types if figures.ready_since), default=now_ms)
    return queue_pb2.GetStatsResponse(
        total=saturated(totals.live),
        unclaimed=saturated(totals.unclaimed),
        in_progress=saturated(totals.in_progress),
        broker_address=broker.addresses.broker,
        completed_total=totals.counters.completed,
        scheduled=totals.scheduled,
        dead=totals.dead,
        cancelled=totals.cancelled,
        blocked=totals.blocked,
        counts=job_counts(totals),
        types=[_type_stats(engine, figures, now_ms) for figures in types],
        oldest_ready_age_ms=max(0, now_ms - since),
        rates=_rates(engine.views.figures.rates(now_ms)),
        bytes=totals.bytes,
        position=position,
        schedules=_schedules(engine, totals, now_ms),
        fairness=map(_key_stats, breakdown.keys),
    )


def _schedules(engine: Engine, totals: Totals, now_ms: int) -> queue_pb2.ScheduleStats | None:
    """None where there never was a schedule."""
    told = totals.schedules
    if told is None:
        return None
    return queue_pb2.ScheduleStats(
        count=told.count,
        paused=told.paused,
        fired_total=told.tally.fired,
        skipped_total=told.tally.skipped,
        missed_total=told.tally.missed,
        dropped_total=told.tally.dropped,
        delayed_total=told.tally.delayed,
        by_hand_total=told.tally.by_hand,
        late_ms=max(0, now_ms - told.due_at) if told.due_at else 0,
    )


def _type_stats(engine: Engine, figures: TypeTotals, now_ms: int) -> queue_pb2.TypeStats:
    serving = engine.views.workers.serving(figures.name, now_ms - LATELY_MS)
    return queue_pb2.TypeStats(
        type=figures.name,
        counts=job_pb2.JobCounts(
            total=live_count(figures.counts), **{status.wire: figures.counts[status] for status in Status}
        ),
        paused=figures.paused,
        oldest_ready_age_ms=max(0, now_ms - figures.ready_since) if figures.ready_since else 0,
        rates=_rates(engine.views.figures.rates(now_ms, figures.name)),
        workers=sum(1 for _ in islice(serving, WORKERS_COUNTED_MAX)),
    )


def _key_stats(figures: KeyTotals) -> job_pb2.FairnessKeyInfo:
    return job_pb2.FairnessKeyInfo(
        key=figures.key,
        weight=figures.weight / DEFAULT_WEIGHT,
        waiting=figures.waiting,
        running=figures.running,
        claimed=figures.claimed,
    )


def _rates(rates: Rates) -> queue_pb2.Rates:
    return queue_pb2.Rates(
        window_ms=RATE_WINDOW_MS,
        submitted=rates.submitted,
        claimed=rates.claimed,
        completed=rates.completed,
        failed=rates.failed,
    )
