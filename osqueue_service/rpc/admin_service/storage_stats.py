"""GetStorageStats."""

from osqueue_service.clock import Clock
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import durable_position
from osqueue_service.storage.factory import OpenedStore
from osqueue_service.storage.throttled import ThrottleStats
from osqueue_service.storage.usage import FREE, StoreUsage
from osqueue_stubs.osqueue.v1 import admin_pb2

_DAY_MS = 86_400_000


class StorageStats:
    """Serves GetStorageStats. A standby answers, too: the figures are those of its own process."""

    def __init__(self, broker: Broker, storage: OpenedStore, clock: Clock) -> None:
        self._broker = broker
        self._storage = storage
        self._clock = clock

    async def GetStorageStats(
        self, request: admin_pb2.GetStorageStatsRequest, context: Context
    ) -> admin_pb2.GetStorageStatsResponse:
        storage, counters = self._storage, self._broker.counters
        response = admin_pb2.GetStorageStatsResponse(
            backend=storage.kind,
            location=storage.store.description,
            commits=counters.segments,
            records=counters.records,
            segment_bytes=counters.segment_bytes,
            checkpoints=counters.checkpoints,
            checkpoint_bytes=counters.checkpoint_bytes,
            unknown_outcomes=counters.puts_unknown,
            operations=_operations(storage.usage),
            since=storage.usage.since_ms,
            last_commit_at=counters.last_segment_at,
        )
        if storage.throttle is not None:
            response.throttle.CopyFrom(_throttle(storage.throttle.stats))
        if storage.usage.prices != FREE:
            completed = self._broker.engine.views.figures.completed if self._broker.is_leader else 0
            response.cost.CopyFrom(_cost(storage.usage, self._clock.wall_ms(), completed))
        if self._broker.is_leader:
            response.position.CopyFrom(durable_position(self._broker.engine))
        return response


def _operations(usage: StoreUsage) -> list[admin_pb2.StorageOperationStats]:
    return [
        admin_pb2.StorageOperationStats(
            operation=kind.value,
            requests=figures.requests,
            errors=figures.errors,
            bytes=figures.bytes,
            latency_ms_p50=usage.latency_ms(kind, 0.5),
            latency_ms_p99=usage.latency_ms(kind, 0.99),
        )
        for kind, figures in usage.operations.items()
    ]


def _throttle(stats: ThrottleStats) -> admin_pb2.ThrottleStats:
    return admin_pb2.ThrottleStats(
        total_reads=stats.total_reads,
        total_writes=stats.total_writes,
        throttled_reads=stats.throttled_reads,
        throttled_writes=stats.throttled_writes,
        total_read_delay_ms=round(stats.total_read_delay_ms),
        total_write_delay_ms=round(stats.total_write_delay_ms),
        daily_write_count=stats.daily_write_count,
        daily_budget_exceeded=stats.daily_budget_exceeded,
    )


def _cost(usage: StoreUsage, now_ms: int, completed: int) -> admin_pb2.StorageCost:
    elapsed_ms = max(1, now_ms - usage.since_ms)
    return admin_pb2.StorageCost(
        currency=usage.prices.currency,
        requests=usage.cost,
        per_day=usage.cost * _DAY_MS / elapsed_ms,
        per_million_jobs=usage.cost * 1_000_000 / completed if completed else 0.0,
    )
