"""What records do to jobs that become what another submission asked for."""

from osqueue_service.state.consistency import require
from osqueue_service.state.model import BLOCKED, SCHEDULED, UNCLAIMED, Job, one_type_string
from osqueue_service.state.moves import Cause
from osqueue_service.state.placement import enter, leave, moving
from osqueue_service.state.records import Replaced, Replacement
from osqueue_service.state.state import State
from osqueue_service.state.steps import count_live, job_in


def replaced(state: State, record: Replaced, at_ms: int) -> None:
    require(record.first == state.next_number, "places are given out of order")
    for item in record.items:
        job = job_in(state, item.number, UNCLAIMED, SCHEDULED, BLOCKED)
        respecify(state, job, item, Cause.REPLACED)


def respecify(state: State, job: Job, item: Replacement, cause: Cause) -> None:
    """The job is what another spec asks for from now on, and begins anew."""
    status = BLOCKED if job.status is BLOCKED else SCHEDULED if item.due_at else UNCLAIMED
    moved = moving(state, job.status, status, cause)
    leave(state, job)
    count_live(state, job.spec, -1)
    count_live(state, item.spec, 1)
    state.promised_jobs += bool(item.spec.retention_ms) - bool(job.spec.retention_ms)
    job.spec = one_type_string(item.spec)
    job.status = status
    job.due_at = 0 if status is BLOCKED else item.due_at
    job.attempts = 0
    if item.anew:
        job.place = state.next_number
        state.next_number += 1
    enter(state, job, moved)
