"""What becomes of jobs when a record is applied: each enters a status, leaves one, or both, and the move says why.

Whatever a leader keeps beside the state (leases, workers, figures, those who wait or watch)
follows moves. None of it looks at records, so a new record needs no edit there: it moves jobs
like the others.
"""

from enum import IntEnum
from typing import assert_never

from msgspec import Struct

from osqueue_service.state.model import IN_PROGRESS, Job, Status


class Cause(IntEnum):
    """Why a job moved."""

    SUBMITTED = 1
    CLAIMED = 2
    COMPLETED = 3
    FAILED = 4
    EXPIRED = 5
    TIMED_OUT = 6
    RELEASED = 7
    PROMOTED = 8
    CANCEL_REQUESTED = 9
    CANCELLED = 10
    RETRIED = 11
    EVICTED = 12
    PURGED = 13
    REPLACED = 25
    UNBLOCKED = 26
    CUT_OFF = 31
    REVIVED = 32
    UPDATED = 55


class Moves(Struct, gc=False):
    """Jobs that went from one status to another for one reason, one after the other: mostly all of a record's.

    `source` is None for new jobs, `target` for those that are no longer kept; they are the same for running jobs that
    were asked to stop and for those that were changed while they wait. The jobs are as the record left them; those no
    longer kept stay readable as they were.
    """

    source: Status | None
    target: Status | None
    cause: Cause
    jobs: list[Job]

    @property
    def claims(self) -> bool:
        """Whether leases begin by it."""
        return self.target is IN_PROGRESS and self.source is not IN_PROGRESS

    @property
    def frees(self) -> bool:
        """Whether leases end by it."""
        return self.source is IN_PROGRESS and self.target is not IN_PROGRESS


def holders_doing(cause: Cause) -> bool:
    """Whether the holder of a lease caused this itself, and so has heard of it in the answer to its own call."""
    match cause:
        case Cause.CLAIMED | Cause.COMPLETED | Cause.FAILED | Cause.RELEASED:
            return True
        case Cause.EXPIRED | Cause.TIMED_OUT | Cause.CANCEL_REQUESTED | Cause.CANCELLED | Cause.PURGED:
            return False
        case Cause.SUBMITTED | Cause.PROMOTED | Cause.RETRIED | Cause.EVICTED | Cause.REPLACED | Cause.UNBLOCKED:
            return False  # never of a leased job
        case Cause.CUT_OFF | Cause.REVIVED | Cause.UPDATED:
            return False  # nor are these
        case _:
            assert_never(cause)
