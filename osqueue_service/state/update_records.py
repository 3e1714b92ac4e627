"""What the log holds of jobs that were changed while they waited."""

from msgspec import Struct, structs

from osqueue_service.state.model import JobSpec
from osqueue_service.state.record import By, Record


class JobChange(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """What jobs are to be from now on, stored by name; None leaves it as it is. `run_at` is queue time (ms); in what is
    asked for, 0 means at once. `metadata` replaces all that there is."""

    priority: int | None = None
    run_at: int | None = None
    payload: bytes | None = None
    metadata: dict[str, str] | None = None

    def of(self, spec: JobSpec, *, its_time: bool = True) -> JobSpec:
        """The spec, changed; with `its_time` unset all but its time."""
        return structs.replace(
            spec,
            priority=spec.priority if self.priority is None else self.priority,
            run_at=self.run_at if its_time and self.run_at is not None else spec.run_at,
            payload=spec.payload if self.payload is None else self.payload,
            metadata=spec.metadata if self.metadata is None else self.metadata or None,
        )


class Updated(Record, frozen=True, tag=55):
    """These jobs, which waited, are as `change` says. Those that no longer wait for their time have places from `first`
    on."""

    first: int
    numbers: list[int]
    change: JobChange
    by: By | None = None
