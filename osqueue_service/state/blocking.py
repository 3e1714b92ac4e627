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
from osqueue_service.state.model import BLOCKED, DEAD, SCHEDULED, UNCLAIMED, Job, MoreOfJob
from osqueue_service.state.moves import Cause
from osqueue_service.state.placement import enter, leave, moving
from osqueue_service.state.sequences import belongs
from osqueue_service.state.state import State
from osqueue_service.state.unique import AfterDead


class Block(NamedTuple):
    """What holds a blocked job up: why, the key that it is about, and the job that it waits for."""

    reason: Reason
    key: str
    behind: Job


def block_of(state: State, job: Job) -> Block | None:
    """The first gate that holds this blocked job up; None when none does."""
    unique, sequence = job.spec.unique, job.spec.sequence
    if unique is not None:
        holder = state.uniques.ahead_of(job)
        if holder is not None:
            return Block(Reason.UNIQUE_HELD, unique.key, holder)
    if sequence is not None:
        ahead = state.sequences.ahead_of(job)
        if ahead is not None:
            return Block(Reason.SEQUENCE, sequence.key, ahead)
    return None


def block_new(state: State, job: Job) -> None:
    """Make a job that is in no index yet a blocked one, if it has to wait for others."""
    unique, sequence, member = job.spec.unique, job.spec.sequence, member_of(job)
    if (unique is not None and unique.held_as(job.spec.type) in state.uniques.holders) or (member and member.needs):
        job.status, job.due_at = BLOCKED, 0
    elif sequence is not None and sequence.key in state.sequences.by_key:
        job.status, job.due_at = BLOCKED, 0
        job.more = replace(job.more or MoreOfJob(), turn=job.place)


def queue_up_again(state: State, job: Job) -> bool:
    """Make a dead job that is to live again the last of the sequence that had skipped it; whether it was so."""
    sequence = job.spec.sequence
    if sequence is None or sequence.after_dead is AfterDead.HOLD or sequence.key not in state.sequences.by_key:
        return False
    job.status, job.place = BLOCKED, state.next_number
    job.more = replace(job.more or MoreOfJob(), turn=job.place)
    state.next_number += 1
    enter(state, job, moving(state, DEAD, BLOCKED, Cause.RETRIED))
    return True


def let_go(state: State, at_ms: int) -> None:
    """Blocked jobs whose gates have opened go on: to their time if it lies ahead, else to the end of their line."""
    while state.opened:
        opened, state.opened = state.opened, []
        for job in sorted(opened, key=lambda job: job.number):
            if job.status is not BLOCKED or state.jobs.get(job.number) is not job:
                continue
            block = block_of(state, job)
            if block is None:
                _let_go(state, job, at_ms)
            elif block.reason is Reason.SEQUENCE and not belongs(job):
                _queue_up(state, job)


def _let_go(state: State, job: Job, at_ms: int) -> None:
    leave(state, job)
    if job.more is not None and job.more.turn:
        job.more = replace(job.more, turn=0)
    delayed = job.spec.run_at > at_ms
    job.status = SCHEDULED if delayed else UNCLAIMED
    if delayed:
        job.due_at = job.spec.run_at
    else:
        job.spec = replace(job.spec, run_at=at_ms)  # it waits since now
    job.place = state.next_number
    state.next_number += 1
    enter(state, job, moving(state, BLOCKED, job.status, Cause.UNBLOCKED))


def _queue_up(state: State, job: Job) -> None:
    """The job has passed the gates before its sequence, and is the last in that."""
    leave(state, job)
    job.more = replace(job.more or MoreOfJob(), turn=state.next_number)
    state.next_number += 1
    enter(state, job, [])  # it stays what it was: nobody need hear of it
