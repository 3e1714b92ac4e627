"""What may be asked of batches."""

from msgspec import Struct

from osqueue_service.state.batches import BatchSpec
from osqueue_service.state.commands import Command
from osqueue_service.state.model import JobSpec
from osqueue_service.state.record import By


class OpenBatch(Command):
    """A batch shall be there that takes members. Answers its number."""

    spec: BatchSpec
    request_id: str = ""


class AddToBatch(Command):
    """Accept these jobs, all or none, as members of the batch of a job whose lease the caller holds, sealed as it may
    be. Answers as `Submit` does."""

    job_id: str
    worker_id: str
    token: str
    jobs: list[JobSpec]
    request_id: str = ""


class SealBatch(Command):
    """It takes no more members, except from those that run. Answers None; sealing it again changes nothing."""

    number: int


class CancelBatch(Command):
    """None of its members is wanted: it is sealed for all, those that wait are cancelled, those that run asked to stop,
    many of them in the commits that follow. Answers how many were live."""

    number: int
    by: By | None = None


class OpenedBatch(Struct, frozen=True, gc=False):
    """The batch that was opened."""

    number: int
    batch_id: str
