"""Batches: jobs that are counted together, and what is submitted once they have ended.

A batch keeps counts, because its members are not kept for as long as it is. What is due (a callback, members that are
to be cancelled) follows from what is stored, so what one commit has no room for is found again by the next, and by
every later leader.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import force_setattr, replace

from osqueue_service.state.index import Deadlines
from osqueue_service.state.model import Job, JobSpec, MoreOfSpec
from osqueue_service.state.origin import BATCH_FINISHED, BATCH_FIRST_DEAD, BATCH_SUCCESS


class Callback(IntEnum):
    """What a batch submits, once each."""

    FIRST_DEAD = 1
    SUCCESS = 2
    FINISHED = 3


class BatchStep(IntEnum):
    """What happens to batches beside what happens to their members."""

    SEALED = 1
    CANCELLED = 2
    SWEPT = 3
    """All of its members are cancelled, or asked to stop."""
    FORGOTTEN = 4


class BatchSpec(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What was asked for: the batch that it is a member of (0: none), how long nothing is added before it is sealed by
    itself, how long it is kept once it has ended, and what it submits."""

    name: str = ""
    parent: int = 0
    seal_after_ms: int = 0
    retention_ms: int = 0
    on_first_dead: JobSpec | None = None
    on_success: JobSpec | None = None
    on_finished: JobSpec | None = None


class Batch(Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    """A batch, as it is stored. `total` members were ever added; those that ended are counted as they stand, `purged`
    where they were removed by hand. `died`: one was ever dead. `finished_at` is when all had ended for the first time,
    `outcome` how they stood when they had last: 1 all were completed, 2 one is dead, 3 neither. The jobs are those that
    its callbacks became."""

    number: int
    spec: BatchSpec
    created_at: int
    added_at: int
    sealed_at: int = 0
    cancelled_at: int = 0
    swept: bool = False
    finished_at: int = 0
    outcome: int = 0
    died: bool = False
    total: int = 0
    completed: int = 0
    dead: int = 0
    cancelled: int = 0
    purged: int = 0
    first_dead_job: int = 0
    success_job: int = 0
    finished_job: int = 0

    @property
    def live(self) -> int:
        """Members that have not ended."""
        return self.total - self.completed - self.dead - self.cancelled - self.purged

    @property
    def succeeded(self) -> bool:
        """All there will be are completed."""
        return bool(self.sealed_at) and not self.cancelled_at and self.completed == self.total

    def spec_of(self, callback: Callback) -> JobSpec | None:
        """What is to be submitted, if anything."""
        spec = self.spec
        return {
            Callback.FIRST_DEAD: spec.on_first_dead,
            Callback.SUCCESS: spec.on_success,
            Callback.FINISHED: spec.on_finished,
        }[callback]

    def job_of(self, callback: Callback) -> int:
        """The number of the job that it became; 0: it has not been submitted."""
        return {
            Callback.FIRST_DEAD: self.first_dead_job,
            Callback.SUCCESS: self.success_job,
            Callback.FINISHED: self.finished_job,
        }[callback]

    def waiting(self) -> list[JobSpec]:
        """What may yet be submitted: it has its room in the queue already."""
        return [spec for each in Callback if (spec := self.spec_of(each)) is not None and not self.job_of(each)]

    def calls(self) -> list[Callback]:
        """What is to be submitted now."""
        due = []
        if self.died and not self.cancelled_at:
            due.append(Callback.FIRST_DEAD)
        if self.finished_at and self.succeeded:
            due.append(Callback.SUCCESS)
        if self.finished_at:
            due.append(Callback.FINISHED)
        return [each for each in due if self.spec_of(each) is not None and not self.job_of(each)]


def batch_bytes(batch: Batch) -> int:
    """About how many bytes it takes in a part of an image."""
    return 512 + len(batch.spec.name) + sum([spec.size for spec in batch.waiting()])


COMPLETED, DEAD, NEITHER = 1, 2, 3

HOW: Final = {
    Callback.FIRST_DEAD: BATCH_FIRST_DEAD,
    Callback.SUCCESS: BATCH_SUCCESS,
    Callback.FINISHED: BATCH_FINISHED,
}
"""How the job of a callback came to be submitted."""

_STALE_MIN = 1_024


class _Members:
    """The numbers of a batch's members, in ascending order, at eight bytes each. Those no longer kept stay until they
    are as many as the others."""

    __slots__ = ("_numbers", "_sorted", "_stale")

    def __init__(self) -> None:
        self._numbers = array("Q")
        self._sorted = True
        self._stale = 0

    def add(self, number: int) -> None:
        if self._numbers and number < self._numbers[-1]:
            self._sorted = False  # an image is loaded, status by status
        self._numbers.append(number)

    def drop(self, jobs: dict[int, Job]) -> None:
        """One is no longer kept."""
        self._stale += 1
        if self._stale > _STALE_MIN and 2 * self._stale > len(self._numbers):
            self._numbers = array("Q", [number for number in self._numbers if number in jobs])
            self._stale = 0

    def after(self, number: int) -> Iterator[int]:
        """Those with greater numbers. They must not change meanwhile."""
        numbers = self._in_order()
        for place in range(bisect_right(numbers, number), len(numbers)):
            yield numbers[place]

    def before(self, number: int) -> Iterator[int]:
        """Those with smaller numbers, in descending order; all of them before 0. They must not change meanwhile."""
        numbers = self._in_order()
        for place in range((bisect_left(numbers, number) if number else len(numbers)) - 1, -1, -1):
            yield numbers[place]

    def _in_order(self) -> "array[int]":
        if not self._sorted:
            self._numbers = array("Q", sorted(self._numbers))
            self._sorted = True
        return self._numbers


class Batches:
    """All batches of a queue."""

    def __init__(self) -> None:
        self.by_number: dict[int, Batch] = {}
        self.children: dict[int, list[int]] = {}
        """The batches that are members of a batch, both by number."""
        self.due: dict[int, None] = {}
        """Batches that have something to submit."""
        self.cancelling: dict[int, int] = {}
        """Cancelled batches whose members are yet to be, with the number of the last member that was looked at."""
        self.idle = Deadlines()
        """Open batches, by when each is sealed if nothing is added."""
        self.kept = Deadlines()
        """Batches that have ended, by when each is let go."""
        self._members: dict[int, _Members] = {}
        self._shared: dict[int, MoreOfSpec] = {}

    def copies(self) -> list[Batch]:
        """All of them as they are now."""
        return [replace(batch) for batch in self.by_number.values()]

    def add(self, batch: Batch) -> None:
        """It is there from now on."""
        self.by_number[batch.number] = batch
        self._members[batch.number] = _Members()
        self._shared[batch.number] = MoreOfSpec(batch=batch.number)
        if batch.spec.parent:
            self.children.setdefault(batch.spec.parent, []).append(batch.number)
        self.file(batch)

    def forget(self, batch: Batch) -> None:
        """It is there no longer."""
        self.unfile(batch)
        self.due.pop(batch.number, None)
        self.cancelling.pop(batch.number, None)
        del self.by_number[batch.number], self._members[batch.number], self._shared[batch.number]
        self.children.pop(batch.number, None)
        siblings = self.children.get(batch.spec.parent)
        if siblings is not None:
            siblings.remove(batch.number)
            if not siblings:
                del self.children[batch.spec.parent]

    def unfile(self, batch: Batch) -> None:
        """It is about to change."""
        if not batch.sealed_at:
            self.idle.remove(batch.added_at + batch.spec.seal_after_ms, batch.number)
        elif batch.finished_at:
            self.kept.remove(batch.finished_at + batch.spec.retention_ms, batch.number)

    def file(self, batch: Batch) -> None:
        """It has changed: when it is sealed or let go, and what is to be done about it."""
        number = batch.number
        if not batch.sealed_at:
            self.idle.add(batch.added_at + batch.spec.seal_after_ms, number)
        elif batch.finished_at:
            self.kept.add(batch.finished_at + batch.spec.retention_ms, number)
        self.reconsider(batch)
        if batch.cancelled_at and not batch.swept:
            self.cancelling.setdefault(number, 0)
        else:
            self.cancelling.pop(number, None)

    def reconsider(self, batch: Batch) -> None:
        """Its members have changed: what it is to submit."""
        if batch.calls():
            self.due[batch.number] = None
        else:
            self.due.pop(batch.number, None)

    def of(self, job: Job) -> Batch | None:
        """The batch of the job, while it is kept."""
        more = job.spec.more
        return self.by_number.get(more.batch) if more is not None and more.batch else None

    def join(self, job: Job) -> None:
        """The job is kept from now on."""
        batch = self.of(job)
        if batch is None:
            return
        shared = self._shared[batch.number]
        if job.spec.more == shared:
            force_setattr(job.spec, "more", shared)  # a hundred bytes less for each member
        self._members[batch.number].add(job.number)

    def part(self, job: Job, jobs: dict[int, Job]) -> None:
        """The job is no longer kept."""
        batch = self.of(job)
        if batch is not None:
            self._members[batch.number].drop(jobs)

    def members(self, number: int, after: int = 0) -> Iterator[int]:
        """The numbers of its members after this one, in ascending order; some may not be kept any more."""
        members = self._members.get(number)
        return members.after(after) if members is not None else iter(())

    def members_before(self, number: int, before: int = 0) -> Iterator[int]:
        """The same in descending order: those before this one, all before 0."""
        members = self._members.get(number)
        return members.before(before) if members is not None else iter(())

    def with_children(self, number: int) -> list[int]:
        """The batch, and all that are members of it, of those and so on."""
        found = [number]
        for each in found:
            found += self.children.get(each, ())
        return found


NOT_FOUND: Final = "no batch has the id {!r}: it never existed here, or it ended and is no longer kept"
