"""The queue as the first osqueue wrote it: what `queue.json` and `GET /state` show."""

from collections.abc import Iterator
from heapq import merge
from operator import attrgetter
from typing import Any

import msgspec

from osqueue_service.state.model import LIVE, Job
from osqueue_service.state.state import State


def live_jobs(state: State) -> Iterator[Job]:
    """The jobs that have not come to their end, in the order of submission. The state must not change meanwhile."""
    rosters = (state.roster(status) for status in LIVE)
    return merge(*rosters, key=attrgetter("number"))


def seed_job(state: State, job: Job, heartbeat: int = 0) -> dict[str, Any]:
    """One job; what is not set is absent. A payload that is not JSON is shown as `payloadBase64`."""
    shown: dict[str, Any] = {
        "id": state.job_id(job),
        "status": job.status.wire,
        **seed_payload(job.spec.payload),
        "createdAt": job.created_at,
        "attempts": job.attempts,
    }
    if job.spec.type:
        shown["type"] = job.spec.type
    if job.spec.max_attempts:
        shown["maxAttempts"] = job.spec.max_attempts
    if job.lease is not None:
        shown["workerId"] = job.lease.worker_id
        shown["heartbeat"] = heartbeat or job.lease.started_at
    return shown


def seed_payload(payload: bytes) -> dict[str, Any]:
    """JSON text goes as it is, to the letter."""
    try:
        payload.decode()
        msgspec.json.decode(payload)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return {"payloadBase64": payload}
    return {"payload": msgspec.Raw(payload)}
