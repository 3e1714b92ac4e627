"""Blocked jobs: what each waits for, and when it waits no longer.

A job passes gates in one order, and is blocked at the first that is shut: the holder of its unique key, the jobs it
needs, its turn in its sequence. Then comes its time (`run_at`), then its line. Each edge leads to a job that has
passed the gates before, so that no circle can form.

Whoever opens a gate notes the jobs behind it in `state.opened`. At the end of each record those that nothing
holds up any more are let go, in the order of their numbers: the log need not say so.
"""

from typing import NamedTuple

from msgspec.structs import replace

from osqueue_service.state.gates import Reason
from osqueue_service.state.graphs import member_of
from osqueue_service.state.model import BLOCKED, SCHEDULED, UNCLAIMED, Job
from osqueue_service.state.moves import Cause
from osqueue_service.state.placement import enter, leave, moving
from osqueue_service.state.state import State


class Block(NamedTuple):
    """What holds a blocked job up: why, the key that it is about, and the job that it waits for."""

    reason: Reason
    key: str
    behind: Job


def block_of(state: State, job: Job) -> Block | None:
    """The first gate that holds this blocked job up; None when none does."""
    unique = job.spec.unique
    if unique is not None:
        holder = state.uniques.ahead_of(job)
        if holder is not None:
            return Block(Reason.UNIQUE_HELD, unique.key, holder)
    return None


def blocks(state: State, job: Job) -> bool:
    """Whether a job that is in no index yet will be blocked when it enters."""
    unique, member = job.spec.unique, member_of(job)
    if unique is not None and unique.held_as(job.spec.type) in state.uniques.holders:
        return True
    return member is not None and bool(member.needs)


def let_go(state: State, at_ms: int) -> None:
    """Blocked jobs whose gates have opened go on: to their time if it lies ahead, else to the end of their line."""
    while state.opened:
        opened, state.opened = state.opened, []
        for job in sorted(opened, key=lambda job: job.number):
            if job.status is BLOCKED and state.jobs.get(job.number) is job and block_of(state, job) is None:
                _let_go(state, job, at_ms)


def _let_go(state: State, job: Job, at_ms: int) -> None:
    leave(state, job)
    delayed = job.spec.run_at > at_ms
    job.status = SCHEDULED if delayed else UNCLAIMED
    if delayed:
        job.due_at = job.spec.run_at
    else:
        job.spec = replace(job.spec, run_at=at_ms)  # it waits since now
    job.place = state.next_number
    state.next_number += 1
    enter(state, job, moving(state, BLOCKED, job.status, Cause.UNBLOCKED))
