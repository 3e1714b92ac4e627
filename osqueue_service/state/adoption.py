"""Taking over the jobs of an osqueue that kept everything in one `queue.json`."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from osqueue_service.state.image import add_job
from osqueue_service.state.model import Job, JobSpec, Lease, Status
from osqueue_service.state.state import State


class NotAdoptable(ValueError):
    """The document does not hold a queue in the shape it claims; the message names the job and the field."""


def adopt(
    state: State, jobs: Sequence[Mapping[str, Any]], completed_total: int, salt: str, now_ms: int, lease_ms: int
) -> None:
    """Fill an empty state. Jobs keep their ids, order, attempts and, while in progress, their worker."""
    state.salt = salt
    for position, seed in enumerate(jobs):
        add_job(state, _job(state, seed, position, now_ms, lease_ms))
    state.counters.submitted = len(jobs) + completed_total
    state.counters.completed = completed_total
    state.counters.claimed = sum(job.claims for job in state.jobs.values())


def _job(state: State, seed: Mapping[str, Any], position: int, now_ms: int, lease_ms: int) -> Job:
    number = state.next_number
    state.next_number += 1
    where = f"jobs[{position}]"
    job_id = _field(seed, "id", str, where)
    if job_id in state.aliases:
        raise NotAdoptable(f"{where}.id: {job_id!r} is there twice")
    spec = JobSpec(
        type=_field(seed, "type", str, where, ""),
        payload=msgspec.json.encode(seed.get("payload")),
        max_attempts=_field(seed, "maxAttempts", int, where, 0),
        id=job_id,
    )
    created_at = _field(seed, "createdAt", int, where, now_ms)
    attempts = _field(seed, "attempts", int, where, 0)
    status = _field(seed, "status", str, where)
    if status == Status.UNCLAIMED.wire:
        return Job(spec, number, created_at, number, attempts=attempts, claims=attempts)
    if status != Status.IN_PROGRESS.wire:
        raise NotAdoptable(f"{where}.status: {status!r} is neither 'unclaimed' nor 'in_progress'")
    worker_id = _field(seed, "workerId", str, where, "")
    claims = max(attempts, 1)
    # Its worker knows no token: the worker id proves the lease until the job is claimed again.
    lease = Lease(f"adopted-{number}", worker_id, claims, now_ms, lease_ms)
    return Job(
        spec, number, created_at, number, Status.IN_PROGRESS, attempts=claims, claims=claims, lease=lease
    )  # fmt: skip


def _field(seed: Mapping[str, Any], name: str, kind: type, where: str, default: Any = None) -> Any:
    value = seed.get(name, default)
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise NotAdoptable(f"{where}.{name}: expected {kind.__name__}, found {value!r}")
    return value
