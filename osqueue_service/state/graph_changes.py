"""Applying the records of workflows."""

from msgspec.structs import replace

from osqueue_service.state.consistency import require
from osqueue_service.state.graph_ends import job_moved, unsettle
from osqueue_service.state.graphs import Workflow
from osqueue_service.state.model import BLOCKED, CANCELLED, SCHEDULED, UNCLAIMED, MoreOfJob, RequestEntry
from osqueue_service.state.moves import Cause
from osqueue_service.state.placement import enter, leave, moving
from osqueue_service.state.records import CutOff, Revived, Unblocked, WorkflowAdded, WorkflowCancelled
from osqueue_service.state.state import State
from osqueue_service.state.steps import add_jobs, count_live, finish, job_in


def added(state: State, record: WorkflowAdded, at_ms: int) -> None:
    require(record.first == state.next_number, "jobs are numbered out of order")
    graph = state.graphs.by_number.get(record.number)
    if graph is None:
        require(record.number == record.first, "a workflow has a number that was given before")
        state.next_number += 1
        graph = state.graphs.add(Workflow(record.number, record.name, at_ms))
    graph.change(total=graph.workflow.total + len(record.jobs))
    first = state.next_number
    add_jobs(state, record.jobs, 0, at_ms)
    if graph.live:
        unsettle(state, graph)
    if record.request:
        expires_at = at_ms + record.request_ttl_ms
        entry = RequestEntry(record.fingerprint, expires_at, record.number, len(record.jobs))
        state.requests.remember(record.request, entry)
    state.graphs.reconsider(state.jobs, range(first, state.next_number))


def unblocked(state: State, record: Unblocked, at_ms: int) -> None:
    require(record.first == state.next_number, "places are given out of order")
    for number in record.numbers:
        job = job_in(state, number, BLOCKED)
        leave(state, job)
        delayed = job.spec.run_at > at_ms
        # Where it waits at once it does so since now.
        job.status, job.due_at = (SCHEDULED, job.spec.run_at) if delayed else (UNCLAIMED, 0)
        job.waits_since = at_ms
        job.place = state.next_number
        state.next_number += 1
        enter(state, job, moving(state, BLOCKED, job.status, Cause.UNBLOCKED))


def cut_off(state: State, record: CutOff, at_ms: int) -> None:
    moved = moving(state, BLOCKED, CANCELLED, Cause.CUT_OFF)
    for number, parent in zip(record.numbers, record.parents, strict=True):
        job = job_in(state, number, BLOCKED)
        leave(state, job)
        job.more = replace(job.more or MoreOfJob(), cut_by=parent)
        finish(state, job, CANCELLED, at_ms, record.retention_ms, moved)
    state.counters.cancelled += len(record.numbers)


def revived(state: State, record: Revived, at_ms: int) -> None:
    moved = moving(state, CANCELLED, BLOCKED, Cause.REVIVED)
    for number in record.numbers:
        job = job_in(state, number, CANCELLED)
        leave(state, job)
        more = replace(job.more or MoreOfJob(), cut_by=0)
        job.more = None if more == MoreOfJob() else more
        job.finished_at = job.keep_until = 0
        job.status = BLOCKED
        count_live(state, job.spec, 1)
        enter(state, job, moved)
        job_moved(state, job)
        state.graphs.reconsider(state.jobs, (number,))
    state.graphs.revived += len(record.numbers)


def workflow_cancelled(state: State, record: WorkflowCancelled, at_ms: int) -> None:
    graph = state.graphs.by_number.get(record.number)
    require(graph is not None, f"workflow number {record.number} is not there")
    assert graph is not None
    graph.change(cancelled=True)
