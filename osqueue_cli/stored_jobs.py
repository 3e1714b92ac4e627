"""Jobs as JSON, as they lie in the store."""

from typing import Any

from osqueue_cli.records import struct_json
from osqueue_cli.shapes import bytes_members
from osqueue_service.state.model import Job
from osqueue_service.state.state import State


def job_json(state: State, job: Job) -> dict[str, Any]:
    """All that the queue knows of a job."""
    spec = struct_json(job.spec)
    spec.pop("id", None)
    shaped = {
        "id": state.job_id(job),
        "status": job.status.wire,
        "createdAt": job.created_at,
        "attempts": job.attempts,
        "claims": job.claims,
        "finishedAt": job.finished_at,
        **spec,
        "history": [struct_json(attempt) for attempt in job.history],
    }
    if job.lease is not None:
        shaped["lease"] = struct_json(job.lease)
    if job.result is not None:
        shaped |= bytes_members("result", job.result)
    return shaped
