"""Records of jobs that come of others: what follows a job's end, and workflows."""

from msgspec import Struct

from osqueue_service.state.model import JobSpec
from osqueue_service.state.record import Record


class Following(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What followed one job: its follow-ups, or what it asked to be submitted at its death.

    `numbers` is the answer where some of them stand for earlier jobs (negated) or were refused (0). `withheld`: there
    were to be some, and the job was to be cancelled.
    """

    number: int
    jobs: list[JobSpec]
    numbers: tuple[int, ...] = ()
    withheld: bool = False


class FollowedUp(Record, frozen=True, tag=30):
    """Jobs that followed others, numbered from `first`: of jobs in progress, which are completed in the same commit,
    or of dead ones, which died in it. `key_ttl_ms` is how long their idempotency keys hold."""

    first: int
    items: list[Following]
    key_ttl_ms: int = 0


class WorkflowAdded(Record, frozen=True, tag=31):
    """Jobs of a workflow, numbered from `first`; a new workflow, whose `number` is `first`, has that for itself. They
    are blocked where they need others. `request` remembers the call for `request_ttl_ms`."""

    first: int
    number: int
    name: str
    jobs: list[JobSpec]
    request: str = ""
    request_ttl_ms: int = 0
    fingerprint: bytes = b""


class Unblocked(Record, frozen=True, tag=32):
    """What these jobs needed has ended, and lets them run: they wait, at places from `first` on, or for their time."""

    first: int
    numbers: list[int]


class CutOff(Record, frozen=True, tag=33):
    """These jobs are cancelled, each because of the bad end of the one in the same place of `parents`."""

    numbers: list[int]
    parents: list[int]
    retention_ms: int


class Revived(Record, frozen=True, tag=34):
    """These jobs were cut off, and what did that has changed: they are blocked again."""

    numbers: list[int]


class WorkflowCancelled(Record, frozen=True, tag=35):
    """This workflow takes no jobs from now on. Who asked for it is in the records that cancel its jobs."""

    number: int
