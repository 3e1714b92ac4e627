"""A broker's figures as metrics: what an operator looks at when jobs do not flow."""

from dataclasses import fields

from osqueue_service.broker import Broker, Role
from osqueue_service.engine.engine import Engine
from osqueue_service.engine.totals import ScheduleTotals
from osqueue_service.leadership import Standbys
from osqueue_service.log import LogCounters
from osqueue_service.metrics import Family, counter, gauge
from osqueue_service.state.model import Status
from osqueue_service.state.schedules import Tally
from osqueue_service.type_metrics import limit_families, type_families


def broker_families(broker: Broker) -> list[Family]:
    """The role of this broker and the history of its log; and while it leads, its queue."""
    role = gauge("osqueue_broker_role", "1 for what this broker is doing now.")
    for each in Role:
        role.add(each is broker.role, role=each.value)
    families = [
        role,
        gauge("osqueue_broker_epoch", "The epoch of the leader, as far as this broker knows.").add(broker.epoch),
        gauge("osqueue_followed_sequence", "The commit up to which a standby has followed the log; 0: none.").add(
            broker.followed
        ),
        _clock_family(broker.guarded_clock.ahead_ms),
        *_log_families(broker.counters),
    ]
    if broker.is_leader:
        families += _queue_families(broker.engine, broker.standbys)
    return families


def _clock_family(ahead_ms: int | None) -> Family:
    ahead = gauge("osqueue_clock_ahead_seconds", "How far this machine's clock is ahead of the store's, if it has one.")
    return ahead if ahead_ms is None else ahead.add(ahead_ms / 1_000)


def _log_families(counters: LogCounters) -> list[Family]:
    events = counter("osqueue_log_events_total", "What the log met on its way to the object store and back.")
    for each in fields(counters):
        if each.name != "last_segment_at":
            events.add(getattr(counters, each.name), event=each.name)
    return [
        events,
        gauge("osqueue_last_commit_timestamp_seconds", "When the last commit became durable; 0: none yet.").add(
            counters.last_segment_at / 1_000
        ),
    ]


def _schedule_families(schedules: ScheduleTotals | None) -> list[Family]:
    count = gauge("osqueue_schedules", "Schedules, by whether they are paused.")
    times = counter("osqueue_schedule_times_total", "What became of times of schedules since the queue was created.")
    paused = schedules.paused if schedules is not None else 0
    count.add((schedules.count if schedules is not None else 0) - paused, paused="false").add(paused, paused="true")
    tally = schedules.tally if schedules is not None else Tally()
    for name in tally.__struct_fields__:
        times.add(getattr(tally, name), outcome=name)
    return [count, times]


def _queue_families(engine: Engine, standbys: Standbys) -> list[Family]:
    totals = engine.views.totals
    seen = engine.views.metrics()
    jobs = gauge("osqueue_jobs", "Jobs in the queue, by status.")
    for status in Status:
        jobs.add(getattr(totals, status.wire), status=status.wire)
    counts = totals.counters
    events = counter("osqueue_jobs_total", "What happened to jobs since the queue was created.")
    for name in counts.__struct_fields__:
        events.add(getattr(counts, name), event=name)
    return [
        jobs,
        events,
        *_schedule_families(totals.schedules),
        *type_families(seen),
        *limit_families(seen.limits),
        gauge("osqueue_live_bytes", "Bytes of live jobs, as counted against the limit.").add(totals.bytes),
        gauge("osqueue_sequence", "The last durable commit.").add(engine.sequence),
        gauge("osqueue_commit_lag_seconds", "Age of the oldest change that is not durable yet.").add(
            engine.commit_lag_ms / 1_000
        ),
        gauge("osqueue_put_seconds", "How long a commit's put takes, as a moving average.").add(
            engine.term.appender.latency_ms / 1_000
        ),
        gauge("osqueue_inbox_commands", "Calls that wait to be committed.").add(engine.inbox_length),
        gauge("osqueue_waiting_claims", "Claims that wait for a job.").add(engine.waiting_claims),
        gauge("osqueue_waiting_reads", "Calls that wait for a job to finish.").add(engine.views.waiting_reads),
        gauge("osqueue_workers", "Workers heard of lately.").add(len(engine.views.workers)),
        gauge("osqueue_standbys", "Standbys that attend this leader.").add(len(standbys)),
        gauge("osqueue_checkpointing", "1 while a checkpoint is being written.").add(engine.checkpointing),
    ]
