"""Workflows: jobs that need others, and what follows from that.

What is stored of a need is in the job that has it. Everything else here follows from the
jobs, the fate of a blocked job included: whether it waits on, may run, or is cut off is a
question of how the jobs that it needs stand. So no step can be lost: what one commit has no
room for is found again by the next, and by every later leader.
"""

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from osqueue_service.state.index import Deadlines
from osqueue_service.state.model import BLOCKED, CANCELLED, COMPLETED, DEAD, LIVE, Job, Status
from osqueue_service.state.needs import Member, Policy


class Workflow(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A workflow, as it is stored. `total` nodes were ever added, `purged` of them removed by hand. `settled_at` is
    when the last of its jobs ended; until then all of them are kept."""

    number: int
    name: str
    created_at: int
    total: int = 0
    settled_at: int = 0
    cancelled: bool = False
    purged: tuple[int, ...] = ()


class WorkflowTable(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A part of an image: workflows, and how many jobs of all there ever were revived."""

    revived: int
    workflows: list[Workflow]


class Fate(IntEnum):
    """What becomes of a job that needs others, beside being cut off by one of them, whose number that is."""

    RUNS = 0
    WAITS = -1
    REVIVES = -2


class Graph:
    """One workflow, with its nodes by name and its jobs by status."""

    __slots__ = ("counts", "nodes", "workflow")

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow
        self.nodes: dict[str, int] = {}
        self.counts = [0] * len(Status)

    @property
    def live(self) -> int:
        """Jobs that have not ended."""
        return sum([self.counts[status] for status in LIVE])

    def change(self, **fields: object) -> None:
        self.workflow = replace(self.workflow, **fields)


class Graphs:
    """All workflows of a queue."""

    def __init__(self) -> None:
        self.by_number: dict[int, Graph] = {}
        self.dependents: dict[int, list[int]] = {}
        """The jobs that need a job, both by number."""
        self.fates: dict[int, int] = {}
        """Jobs that are to change: a `Fate`, or the number of the job that cuts them off."""
        self.revived = 0
        self.pinned = Deadlines()
        """Finished jobs whose workflows have not ended."""
        self.pinned_bytes = 0

    def load(self, table: WorkflowTable) -> None:
        """Fill it from a part of an image; the jobs follow."""
        self.revived = table.revived
        for workflow in table.workflows:
            self.add(workflow)

    def tables(self, most: int) -> Iterator[WorkflowTable]:
        """The parts of an image, of at most `most` workflows each; none where there never was anything to tell."""
        workflows = [graph.workflow for graph in self.by_number.values()]
        for start in range(0, len(workflows), most):
            yield WorkflowTable(self.revived, workflows[start : start + most])
        if self.revived and not workflows:
            yield WorkflowTable(self.revived, [])

    def of(self, job: Job) -> Graph | None:
        """The workflow of the job."""
        member = member_of(job)
        return self.by_number.get(member.workflow) if member is not None else None

    def add(self, workflow: Workflow) -> Graph:
        graph = self.by_number[workflow.number] = Graph(workflow)
        return graph

    def join(self, job: Job) -> None:
        """The job is kept from now on."""
        member = member_of(job)
        if member is None:
            return
        assert member.workflow in self.by_number, "its workflow is not there"
        self.by_number[member.workflow].nodes[member.node] = job.number
        for need in member.needs:
            self.dependents.setdefault(need.number, []).append(job.number)

    def part(self, job: Job) -> None:
        """The job is no longer kept; with its last job the workflow goes."""
        member = member_of(job)
        if member is None:
            return
        graph = self.by_number[member.workflow]
        del graph.nodes[member.node]
        if not graph.nodes:
            del self.by_number[member.workflow]
        for need in member.needs:
            others = self.dependents[need.number]
            others.remove(job.number)
            if not others:
                del self.dependents[need.number]
        self.fates.pop(job.number, None)

    def enter(self, job: Job) -> None:
        """The job has this status now."""
        graph = self.of(job)
        if graph is not None:
            graph.counts[job.status] += 1

    def leave(self, job: Job) -> None:
        """The job has this status no longer."""
        graph = self.of(job)
        if graph is not None:
            graph.counts[job.status] -= 1
            self.fates.pop(job.number, None)

    def pins(self, job: Job) -> bool:
        """Whether the job is kept, finished as it may be, because its workflow has not ended."""
        graph = self.of(job)
        return graph is not None and not graph.workflow.settled_at

    def reconsider(self, jobs: dict[int, Job], numbers: Iterable[int]) -> None:
        """What these jobs need may have changed."""
        for number in numbers:
            job = jobs.get(number)
            fate = self.fate_of(jobs, job) if job is not None else None
            if fate is None:
                self.fates.pop(number, None)
            else:
                self.fates[number] = fate

    def fate_of(self, jobs: dict[int, Job], job: Job) -> int | None:
        """What the job is to become; None: what it is."""
        if job.status is BLOCKED:
            fate = self._by_needs(jobs, job)
            return None if fate == Fate.WAITS else fate
        if job.status is CANCELLED and job.more is not None and job.more.cut_by:
            return Fate.REVIVES if self._by_needs(jobs, job) <= 0 else None
        return None

    def _by_needs(self, jobs: dict[int, Job], job: Job) -> int:
        """Whether what it needs lets it run, makes it wait, or cuts it off."""
        member, graph = member_of(job), self.of(job)
        if member is None or graph is None:
            return Fate.WAITS
        fate = Fate.RUNS
        for need in member.needs:
            parent = jobs.get(need.number)
            if parent is None:
                purged = need.number in graph.workflow.purged
                always = need.if_dead is need.if_cancelled is Policy.RUN
                if (purged and not always) or (job.more is not None and job.more.cut_by == need.number):
                    return need.number
                continue
            status = parent.status
            if status is COMPLETED:
                continue
            if status is DEAD:
                policy = need.if_dead
            elif status is CANCELLED:
                policy = need.if_cancelled
            else:
                policy = Policy.HOLD
            if policy is Policy.CASCADE:
                return need.number
            if policy is Policy.HOLD:
                fate = Fate.WAITS
        return fate


def member_of(job: Job) -> Member | None:
    """The job's place in a workflow."""
    more = job.spec.more
    return more.member if more is not None else None


NOT_FOUND: Final = "no workflow has the id {!r}: it never existed here, or it ended and none of its jobs is kept"
