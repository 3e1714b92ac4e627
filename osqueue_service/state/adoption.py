"""Taking over the jobs of an osqueue that kept everything in one `queue.json`.

What is built depends on that document alone, not on who adopts it or when: until the first
checkpoint a second broker may have to adopt the same jobs again, under commits that already name them.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from osqueue_service.state.image import add_job
from osqueue_service.state.job_ids import JobIds
from osqueue_service.state.model import Job, JobSpec, Lease, MoreOfSpec, Status
from osqueue_service.state.state import State
from osqueue_service.state.stored import FAULTS

LEASE_MS = 30_000
"""How long the leases of adopted jobs last: no limit of the broker that adopts them decides, or two would differ."""


class NotAdoptable(ValueError):
    """The document does not hold a queue in the shape it claims; the message names the job and the field."""


def adopt(state: State, jobs: Sequence[bytes], completed_total: int) -> None:
    """Fill an empty state from the JSON text of each job. Jobs keep their ids, order, attempts and, while in
    progress, their worker, whose lease begins anew. `NotAdoptable` for anything that is not such jobs."""
    state.ids = JobIds(blake2b(b"\0".join(jobs), digest_size=3).hexdigest())
    for position, text in enumerate(jobs):
        try:
            seed = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        except FAULTS as error:
            raise NotAdoptable(f"jobs[{position}]: {error}") from None
        add_job(state, _job(state, seed, position))
    state.counters.submitted = len(jobs) + completed_total
    state.counters.completed = completed_total
    state.counters.claimed = sum(job.claims for job in state.jobs.values())


def _job(state: State, seed: Mapping[str, msgspec.Raw], position: int) -> Job:
    number = state.next_number
    state.next_number += 1
    where = f"jobs[{position}]"
    job_id = _field(seed, "id", str, where)
    if job_id in state.aliases:
        raise NotAdoptable(f"{where}.id: {job_id!r} is there twice")
    spec = JobSpec(
        type=_field(seed, "type", str, where, ""),
        payload=bytes(seed.get("payload", b"null")),
        max_attempts=_field(seed, "maxAttempts", int, where, 0),
        more=MoreOfSpec(id=job_id),
    )
    created_at = _field(seed, "createdAt", int, where, 0)
    attempts = _field(seed, "attempts", int, where, 0)
    status = _field(seed, "status", str, where)
    if status == Status.UNCLAIMED.wire:
        return Job(spec, number, created_at, number, attempts=attempts, claims=attempts)
    if status != Status.IN_PROGRESS.wire:
        raise NotAdoptable(f"{where}.status: {status!r} is neither 'unclaimed' nor 'in_progress'")
    worker_id = _field(seed, "workerId", str, where, "")
    claims = max(attempts, 1)
    # Its worker knows no token: the worker id proves the lease until the job is claimed again.
    lease = Lease(f"adopted-{number}", worker_id, claims, created_at, LEASE_MS)
    return Job(
        spec, number, created_at, number, Status.IN_PROGRESS, attempts=claims, claims=claims, lease=lease
    )  # fmt: skip


def _field(seed: Mapping[str, msgspec.Raw], name: str, kind: type, where: str, default: Any = None) -> Any:
    text = seed.get(name)
    try:
        value = default if text is None else msgspec.json.decode(text)
    except FAULTS as error:
        raise NotAdoptable(f"{where}.{name}: {error}") from None
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise NotAdoptable(f"{where}.{name}: expected {kind.__name__}, found {value!r}")
    return value
