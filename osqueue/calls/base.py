"""What the calls need from the client they belong to."""

from collections.abc import Iterable
from typing import Any

from osqueue.job import HoldsLease
from osqueue.registry import JobType, Registry
from osqueue.retrying import RetryOptions
from osqueue.session import Session
from osqueue.submission import names, text
from osqueue.submit_middleware import AroundSubmits


class Calls:
    """A client's options, and its connection as it is now."""

    registry: Registry
    options: RetryOptions
    _around: AroundSubmits

    def _open(self) -> Session:
        """The session of this process and loop, connected on demand."""
        raise NotImplementedError


def lease_of(job: HoldsLease) -> tuple[str, str, str]:
    """What proves the right to an attempt, checked to be able to travel."""
    return text("job_id", job.job_id), text("worker_id", job.worker_id), text("lease_token", job.lease_token)


def names_of(types: Iterable[str | JobType[Any, Any]]) -> tuple[str, ...]:
    """The names of job types."""
    return names("types", types)
