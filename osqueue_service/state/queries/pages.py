"""The jobs of a queue page by page.

A page ends where a job's number says, and numbers never change: a walk shows every job that
matched throughout exactly once, whatever happens between two pages and whoever leads.
"""

from collections.abc import Callable

from msgspec import Struct

from osqueue_service.limits import Limits
from osqueue_service.state.model import Job
from osqueue_service.state.queries.filters import Filter
from osqueue_service.state.state import State


class Page(Struct):
    """Jobs, oldest first, and the number after which the next page begins; None after the last."""

    jobs: list[Job]
    next_after: int | None


def page(
    state: State, filter: Filter, after: int, items_max: int, limits: Limits, size_of: Callable[[Job], int]
) -> Page:
    """The next page: at most `items_max` jobs and `page_bytes`, but one job always fits; found among the next
    `page_candidates` jobs, so that no page holds up the broker for long."""
    jobs: list[Job] = []
    room = limits.page_bytes
    for examined, job in enumerate(filter.candidates(state, after)):
        if examined == limits.page_candidates:
            return Page(jobs, after)
        if filter.matches(job):
            room -= size_of(job)
            if len(jobs) == items_max or (room < 0 and jobs):
                return Page(jobs, after)
            jobs.append(job)
        after = job.number
    return Page(jobs, None)
