"""What a record does to jobs that were changed while they waited."""

from osqueue_service.state.consistency import require
from osqueue_service.state.model import BLOCKED, SCHEDULED, UNCLAIMED
from osqueue_service.state.moves import Cause
from osqueue_service.state.placement import enter, leave, moving
from osqueue_service.state.records import Updated
from osqueue_service.state.state import State
from osqueue_service.state.steps import job_in, wait_again


def updated(state: State, record: Updated, at_ms: int) -> None:
    """Blocked jobs stay so: their time comes when nothing holds them up."""
    require(record.first == state.next_number, "places are given out of order")
    run_at = record.change.run_at
    for number in record.numbers:
        job = job_in(state, number, UNCLAIMED, SCHEDULED, BLOCKED)
        status = job.status
        if run_at is not None and status is not BLOCKED:
            status = SCHEDULED if run_at > at_ms else UNCLAIMED
        moved = moving(state, job.status, status, Cause.UPDATED)
        its_time = not (job.status is UNCLAIMED and status is UNCLAIMED)  # it has come already
        leave(state, job)
        before, job.spec = job.spec, record.change.of(job.spec, its_time=its_time)
        state.live_bytes += job.spec.size - before.size
        if status is UNCLAIMED and job.status is SCHEDULED:
            wait_again(state, job, moved)
            continue
        job.status = status
        if status is SCHEDULED and run_at is not None:
            job.due_at = run_at
        enter(state, job, moved)
