"""A job as the first osqueue wrote it into its `queue.json`: what an export shows."""

from typing import Any

import msgspec

from osqueue_service.state.model import Job
from osqueue_service.state.state import State


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
    return {"payload": msgspec.Raw(payload)} if is_json(payload) else {"payloadBase64": payload}


def is_json(payload: bytes) -> bool:
    """Whether a payload is JSON text, as that queue's payloads are."""
    try:
        payload.decode()
        msgspec.json.decode(payload)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return False
    return True
