"""How many jobs there are, as callers see it."""

from osqueue_service.engine.engine import Engine
from osqueue_service.engine.totals import Totals
from osqueue_service.errors import NotLeader
from osqueue_stubs.osqueue.v1 import job_pb2

_INT32_MAX = 2**31 - 1


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
        submitted_total=counters.submitted,
        completed_total=counters.completed,
        dead_total=counters.died,
        cancelled_total=counters.cancelled,
        purged_total=counters.purged,
        evicted_total=counters.evicted,
    )


def check_live(engine: Engine) -> None:
    """Raise `NotLeader` once another broker may lead: what this one remembers could be outdated."""
    if not engine.term.is_live():
        raise NotLeader("this broker could not renew its leadership in time, so its answers may be stale")


def durable_position(engine: Engine) -> job_pb2.ReadPosition:
    """Of an answer about the last durable commit, given at once."""
    return job_pb2.ReadPosition(epoch=engine.term.epoch, sequence=engine.sequence, commit_lag_ms=engine.commit_lag_ms)


def view_position(engine: Engine) -> job_pb2.ReadPosition:
    """Of an answer that shows the state as it is now, and is given when that is durable. Call it with the view."""
    return job_pb2.ReadPosition(epoch=engine.term.epoch, sequence=engine.term.appender.next_sequence - 1)


def commit_position(engine: Engine) -> job_pb2.CommitPosition:
    """Of a change that has just become durable."""
    return job_pb2.CommitPosition(epoch=engine.term.epoch, sequence=engine.sequence)
