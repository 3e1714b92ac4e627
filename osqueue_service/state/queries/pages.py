"""The jobs of a queue page by page.

A page ends where a job's number says, and numbers never change: a walk shows every job that
matched throughout exactly once, whatever happens between two pages and whoever leads.
"""

from collections.abc import Callable, Iterator
from enum import IntEnum

from msgspec import Struct

from osqueue_service.limits import Limits
from osqueue_service.state.index import NUMBERS
from osqueue_service.state.model import Job
from osqueue_service.state.queries.filters import Filter
from osqueue_service.state.state import State


class Order(IntEnum):
    """In which order a walk goes. The numbers are those of the public contract.

    OLDEST and NEWEST go by submission. SOONEST is of scheduled jobs, the next to run first: one that gets another time
    between two pages may be shown twice, or not.
    """

    OLDEST = 0
    NEWEST = 1
    SOONEST = 2


class Page(Struct):
    """Jobs in the order that was asked for, and the number after which the next page begins; None after the last."""

    jobs: list[Job]
    next_after: int | None


def page(
    state: State,
    filter: Filter,
    after: int,
    items_max: int,
    limits: Limits,
    size_of: Callable[[Job], int],
    order: Order = Order.OLDEST,
) -> Page:
    """The next page: at most `items_max` jobs and `page_bytes`, but one job always fits; found among the next
    `page_candidates` jobs, so that no page holds up the broker for long."""
    jobs: list[Job] = []
    room = limits.page_bytes
    for examined, job in enumerate(_walk(state, filter, after, order)):
        if examined == limits.page_candidates:
            return Page(jobs, after)
        if filter.matches(job):
            room -= size_of(job)
            if len(jobs) == items_max or (room < 0 and jobs):
                return Page(jobs, after)
            jobs.append(job)
        after = _place(job, order)
    return Page(jobs, None)


def _walk(state: State, filter: Filter, after: int, order: Order) -> Iterator[Job]:
    if order is Order.SOONEST:
        at_ms, number = divmod(after, NUMBERS)
        due = (state.jobs[each] for each in state.scheduled.after(at_ms, number))
        belongs = filter.membership(state)
        return due if belongs is None else (job for job in due if belongs(job))
    return filter.candidates(state, after, newest=order is Order.NEWEST)


def _place(job: Job, order: Order) -> int:
    """Where the walk stands behind this job."""
    return job.due_at * NUMBERS + job.number if order is Order.SOONEST else job.number
