"""What a job of a workflow is given of those that it needed."""

from typing import Any, NamedTuple, TypeVar, overload

from osqueue.encoding import from_bytes
from osqueue.registry import JobType

T = TypeVar("T")


class JobInput(NamedTuple):
    """How a job of the workflow ended that this one needed: "completed", "dead", "cancelled" or "purged", and its
    result. `omitted`: it has one, which is too large to be here; `get_job` has it."""

    node: str
    job_id: str
    status: str
    result: bytes | None = None
    omitted: bool = False

    @overload
    def value(self) -> Any: ...
    @overload
    def value(self, job_type: JobType[Any, T]) -> T: ...
    def value(self, job_type: JobType[Any, Any] | None = None) -> Any:
        """The result as JSON, the bytes themselves when they are none, None when there is none; with a `job_type`, as
        that type says."""
        if job_type is not None:
            return job_type.decode_result(self.result)
        return None if self.result is None else from_bytes(self.result)
