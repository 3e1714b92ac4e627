"""Records of batches: jobs that are counted together."""

from msgspec import Struct

from osqueue_service.state.batches import BatchSpec, BatchStep, Callback
from osqueue_service.state.model import JobSpec
from osqueue_service.state.record import By, Record


class BatchOpened(Record, frozen=True, tag=36):
    """A batch begins, under the next number. `request` remembers the call for `request_ttl_ms`."""

    number: int
    spec: BatchSpec
    request: str = ""
    request_ttl_ms: int = 0
    fingerprint: bytes = b""


class BatchesMoved(Record, frozen=True, tag=37):
    """This happened to these batches."""

    numbers: list[int]
    step: BatchStep
    by: By | None = None


class Call(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What one batch submits, and because of what."""

    batch: int
    callback: Callback
    job: JobSpec


class CalledBack(Record, frozen=True, tag=38):
    """Batches submit what they were opened with: jobs numbered from `first`."""

    first: int
    items: list[Call]
