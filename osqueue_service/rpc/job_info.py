"""Jobs as callers see them: JobInfo and ClaimedJob."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from osqueue_service.engine.engine import Engine
from osqueue_service.engine.leases import Progress
from osqueue_service.limits import Limits
from osqueue_service.rpc.uniqueness import fill_unique
from osqueue_service.state.commands import Granted, Input
from osqueue_service.state.model import (
    FOLLOW_UP,
    ON_DEAD,
    Attempt,
    Ending,
    Job,
    JobSpec,
    Lease,
    MoreOfSpec,
    Origin,
    RetryPolicy,
)
from osqueue_service.state.origin import BATCH_FINISHED, BATCH_FIRST_DEAD, BATCH_SUCCESS
from osqueue_service.state.state import State
from osqueue_service.state.submission import public_id
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2

ENVELOPE_BYTES = 512
"""What a job takes in an answer beside payload, result, labels and errors, generously."""

View: TypeAlias = job_pb2.JobView.ValueType

_ID_BYTES = 160
"""What an id takes in a list, at most."""

_KINDS = {
    FOLLOW_UP: job_pb2.ORIGIN_KIND_FOLLOW_UP,
    ON_DEAD: job_pb2.ORIGIN_KIND_ON_DEAD,
    BATCH_FIRST_DEAD: job_pb2.ORIGIN_KIND_BATCH_FIRST_DEAD,
    BATCH_SUCCESS: job_pb2.ORIGIN_KIND_BATCH_SUCCESS,
    BATCH_FINISHED: job_pb2.ORIGIN_KIND_BATCH_FINISHED,
}

_NO_MORE = MoreOfSpec()

_OUTCOMES = {ending: job_pb2.AttemptOutcome.Value(f"ATTEMPT_OUTCOME_{ending.name}") for ending in Ending}


def job_info(engine: Engine, state: State, job: Job, view: View) -> job_pb2.JobInfo:
    """The job as it is now, with as much of it as the view asks for."""
    spec, lease = job.spec, job.lease
    more = spec.more or _NO_MORE
    info = job_pb2.JobInfo(
        id=state.job_id(job),
        status=job.status.wire,
        type=spec.type,
        created_at=job.created_at,
        attempts=job.attempts,
        max_attempts=spec.max_attempts,
        priority=spec.priority,
        run_at=job.due_at or spec.run_at,
        lease_ms=spec.lease_ms,
        timeout_ms=spec.timeout_ms,
        idempotency_key=spec.idempotency_key,
        finished_at=job.finished_at,
        cancel_requested=job.cancel_requested,
        max_attempts_set=spec.max_attempts > 0,
        attempt_number=job.claims,
        payload_bytes=len(spec.payload),
        result_bytes=len(job.result or b""),
        effective_max_attempts=spec.max_attempts or engine.limits.default_max_attempts,
        limits=[job_pb2.Limit(limit=use.limit, key=use.key, cost=use.cost) for use in spec.limits],
        schedule_id=more.schedule,
        scheduled_for=more.scheduled_for,
    )
    if view != job_pb2.JOB_VIEW_BASIC:
        info.payload = spec.payload
    _fill_asked(info, spec)
    if lease is not None:
        _leased(engine, job, lease, info)
    elif job.history:
        info.worker_id = job.history[-1].worker_id
    last_error = next((end for end in reversed(job.history) if _has_error(end)), None)
    if last_error is not None:
        info.error.type, info.error.message = last_error.error_type, last_error.error_message
    if spec.more is not None or job.more is not None:
        _relatives(state, job, info, view)
    if view == job_pb2.JOB_VIEW_FULL:
        if job.result is not None:
            info.result = job.result
        info.history.extend(history(job, engine.limits))
    return info


def _leased(engine: Engine, job: Job, lease: Lease, info: job_pb2.JobInfo) -> None:
    """Who holds the job, until when, and how far the holder has come."""
    spec = job.spec
    info.worker_id = lease.worker_id
    info.claimed_at = lease.started_at
    live = engine.views.lease_of(job.number)
    info.heartbeat = live.heard_at if live is not None else lease.started_at
    if live is not None:
        ends_at = live.expires_at
        # The limit of the attempt caps the lease, however often it is renewed.
        info.lease_expires_at = min(ends_at, lease.started_at + spec.timeout_ms) if spec.timeout_ms else ends_at
        if live.progress is not None:
            info.progress.CopyFrom(progress(live.progress))


def _relatives(state: State, job: Job, info: job_pb2.JobInfo, view: View) -> None:
    """Where the job came from, and what came of it."""
    more = job.spec.more
    if more is not None and more.origin is not None:
        info.came_from.CopyFrom(origin(public_id(state, more.origin.number), more.origin))
    if more is not None and more.member is not None:
        info.workflow_id = state.id_of_number(more.member.workflow)
        info.node = more.member.node
    if more is not None and more.batch:
        info.batch_id = state.id_of_number(more.batch)
    if view == job_pb2.JOB_VIEW_BASIC:
        return
    if more is not None and more.on_dead is not None:
        info.submit_on_dead.CopyFrom(template(more.on_dead))
    if job.more is not None:
        info.follow_ups.extend(public_id(state, abs(number)) for number in job.more.follow_ups if number)
        info.dead_follow_ups.extend(public_id(state, number) for number in job.more.on_dead)


def origin(public_id: str, came_from: Origin) -> job_pb2.Origin:
    """Where a job came from, and the id of that job or batch."""
    said = job_pb2.Origin(kind=_KINDS[came_from.how], attempt=came_from.attempt)
    if came_from.how in (FOLLOW_UP, ON_DEAD):
        said.job_id = public_id
    else:
        said.batch_id = public_id
    if came_from.error_type or came_from.error_message:
        said.error.type, said.error.message = came_from.error_type, came_from.error_message
    return said


def template(spec: JobSpec) -> job_pb2.JobTemplate:
    """A job that is yet to be submitted."""
    said = job_pb2.JobTemplate(
        payload=spec.payload,
        type=spec.type,
        priority=spec.priority,
        lease_ms=spec.lease_ms,
        timeout_ms=spec.timeout_ms,
        metadata=spec.metadata,
    )
    if spec.max_attempts:
        said.max_attempts = spec.max_attempts
    if spec.retention_ms:
        said.retention_ms = spec.retention_ms
    if spec.retry is not None:
        said.retry_policy.CopyFrom(retry_policy(spec.retry))
    return said


def _fill_asked(info: job_pb2.JobInfo, spec: JobSpec) -> None:
    """What the producer asked for, as far as it is not in every job."""
    if spec.metadata:
        info.metadata.update(spec.metadata)
    if spec.retry is not None:
        info.retry_policy.CopyFrom(retry_policy(spec.retry))
    if spec.retention_ms:
        info.retention_ms = spec.retention_ms
    if spec.unique is not None:
        fill_unique(spec.unique, info.unique)
    if spec.sequence is not None:
        info.sequence_key = spec.sequence.key
        info.sequence_after_dead = job_pb2.SequenceAfterDead.values()[spec.sequence.after_dead]
    if spec.fairness_key:
        info.fairness_key = spec.fairness_key


def info_bytes(job: Job, view: View) -> int:
    """About how large `job_info` is, never less."""
    spec = job.spec
    size = ENVELOPE_BYTES + spec.size - len(spec.payload)
    if view != job_pb2.JOB_VIEW_BASIC:
        size += len(spec.payload)
    if job.more is not None:
        size += _ID_BYTES * (len(job.more.follow_ups) + len(job.more.on_dead))
    if view == job_pb2.JOB_VIEW_FULL:
        size += len(job.result or b"") + sum(_attempt_bytes(end) for end in job.history)
    elif job.history:
        size += max(_attempt_bytes(end) for end in job.history)
    return size


def history(job: Job, limits: Limits) -> list[job_pb2.Attempt]:
    """The job's attempts, oldest first, the running one included; at most as many as are kept."""
    attempts = [_attempt(end) for end in job.history]
    if job.lease is not None:
        lease = job.lease
        attempts.append(job_pb2.Attempt(number=lease.attempt, worker_id=lease.worker_id, started_at=lease.started_at))
    return attempts[-limits.history_attempts :]


def retry_policy(policy: RetryPolicy) -> job_pb2.RetryPolicy:
    return job_pb2.RetryPolicy(
        initial_ms=policy.initial_ms, multiplier=policy.multiplier, max_ms=policy.max_ms, jitter=policy.jitter
    )


def progress(said: Progress) -> job_pb2.Progress:
    return job_pb2.Progress(fraction=said.fraction, message=said.message, updated_at=said.updated_at)


Claimed: TypeAlias = job_pb2.ClaimedJob | queue_pb2.ClaimJobResponse


def fill_claimed(engine: Engine, granted: Iterable[Granted], add: Callable[[], Claimed]) -> None:
    """Write the jobs as their worker receives them, each into a message that `add` makes. They are not handed back in
    a list to be put into the answer, because that would copy each of them."""
    lease_of = engine.views.lease_of
    for grant in granted:
        spec = grant.spec
        job = add()
        job.job_id = grant.job_id
        job.payload = spec.payload
        job.lease_token = grant.token
        job.attempt = grant.attempt
        lease = lease_of(grant.number)
        if lease is not None and lease.token == grant.token:
            job.lease_expires_at = lease.expires_at
        else:  # it ended while the answer was on its way
            job.lease_expires_at = engine.now_ms()
        job.max_attempts = grant.max_attempts
        job.created_at = grant.created_at
        job.lease_ms = grant.lease_ms
        if spec.type:
            job.type = spec.type
        if spec.priority:
            job.priority = spec.priority
        if spec.timeout_ms:
            job.timeout_ms = spec.timeout_ms
        if spec.metadata:
            job.metadata.update(spec.metadata)
        if grant.cancel_requested:
            job.cancel_requested = True
        if spec.more is not None:
            _fill_relatives(grant, spec.more, job)


def _fill_relatives(grant: Granted, more: MoreOfSpec, job: Claimed) -> None:
    """What a worker is told of what made its job, and of others."""
    if more.schedule:
        job.schedule_id, job.scheduled_for = more.schedule, more.scheduled_for
    if more.origin is not None:
        job.came_from.CopyFrom(origin(grant.came_from, more.origin))
    if grant.workflow_id:
        job.workflow_id = grant.workflow_id
        job.inputs.extend(map(_input, grant.inputs))


def _input(given: Input) -> job_pb2.JobInput:
    said = job_pb2.JobInput(
        node=given.node,
        job_id=given.job_id,
        status=given.status.wire if given.status is not None else "purged",
        omitted=given.omitted,
    )
    if given.result is not None:
        said.result = given.result
    return said


def _attempt(end: Attempt) -> job_pb2.Attempt:
    attempt = job_pb2.Attempt(
        number=end.number,
        worker_id=end.worker_id,
        started_at=end.started_at,
        ended_at=end.ended_at,
        outcome=_OUTCOMES[end.ending],
    )
    if _has_error(end):
        attempt.error.type, attempt.error.message = end.error_type, end.error_message
    return attempt


def _has_error(end: Attempt) -> bool:
    return bool(end.error_type or end.error_message)


def _attempt_bytes(end: Attempt) -> int:
    return 64 + 4 * (len(end.worker_id) + len(end.error_type)) + 4 * len(end.error_message)
