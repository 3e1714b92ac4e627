"""Applying the record of what followed other jobs' ends."""

from msgspec.structs import replace

from osqueue_service.state.consistency import require
from osqueue_service.state.model import DEAD, IN_PROGRESS, MoreOfJob
from osqueue_service.state.placement import changing
from osqueue_service.state.records import FollowedUp
from osqueue_service.state.state import State
from osqueue_service.state.steps import add_jobs, job_in

_DEATHS_KEPT = 20
"""Of how many of its deaths a job names what they submitted."""


def followed_up(state: State, record: FollowedUp, at_ms: int) -> None:
    require(record.first == state.next_number, "jobs are numbered out of order")
    for item in record.items:
        job = job_in(state, item.number, IN_PROGRESS, DEAD)
        first = state.next_number
        add_jobs(state, item.jobs, record.key_ttl_ms, at_ms)
        changing(state, job)
        numbers = item.numbers or tuple(range(first, state.next_number))
        more = job.more or MoreOfJob()
        if job.status is DEAD:
            require(job.number in state.died, f"job number {job.number} did not die in this commit")
            state.died.remove(job.number)
            job.more = replace(more, on_dead=(*more.on_dead, *numbers)[-_DEATHS_KEPT:])
        else:
            job.more = replace(more, follow_ups=numbers, withheld=item.withheld)
        state.counters.deduplicated += sum(number < 0 for number in item.numbers)
