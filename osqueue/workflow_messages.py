"""What a transport is asked of workflows and what it answers: plain data, free of any wire format."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from osqueue.job import JobSpec, JobStatus, Position
from osqueue.messages import Question
from osqueue.stats import Counts

EndPolicy = Literal["", "cascade", "run", "hold"]
"""What a bad end of a job means to one that needs it: "cascade" (also "") cancels it, "run" lets it run, "hold" keeps
it waiting until somebody retries or purges the other."""

WorkflowStatus = Literal["running", "completed", "dead", "cancelled"]


@dataclass(slots=True, frozen=True)
class NodeNeed:
    """That a node waits for another one. With `pass_result` its job is given the other's result."""

    node: str
    if_dead: EndPolicy = ""
    if_cancelled: EndPolicy = ""
    pass_result: bool = False


@dataclass(slots=True)
class WorkflowNode:
    """One job of a workflow: its name there, and what it waits for."""

    name: str
    job: JobSpec
    needs: Sequence[NodeNeed] = ()


@dataclass(slots=True)
class SubmitWorkflowRequest:
    """Jobs that need each other."""

    name: str
    nodes: Sequence[WorkflowNode]
    request_id: str = ""


@dataclass(slots=True)
class AddToWorkflowRequest:
    """More jobs for the workflow of a running job."""

    job_id: str
    worker_id: str
    lease_token: str
    nodes: Sequence[WorkflowNode]


class SubmittedNode(NamedTuple):
    """A node and its job."""

    name: str
    job_id: str


class SubmittedWorkflow(NamedTuple):
    """The workflow is durable; `nodes` in the order in which they were sent."""

    workflow_id: str
    nodes: Sequence[SubmittedNode] = ()
    commit: Position | None = None


@dataclass(slots=True)
class WorkflowInfo:
    """A workflow as a whole: "running" while one of its jobs is live, then "completed", "dead" if one is, else
    "cancelled". `nodes` were ever added."""

    id: str
    name: str = ""
    status: WorkflowStatus = "running"
    created_at: int = 0
    finished_at: int = 0
    nodes: int = 0
    counts: Counts = field(default_factory=Counts)

    @property
    def finished(self) -> bool:
        """None of its jobs will run by itself."""
        return self.status != "running"


@dataclass(slots=True)
class NodeInfo:
    """One job of a workflow. `cut_by` is the id of the job whose bad end cancelled it."""

    name: str
    job_id: str
    status: JobStatus
    type: str = ""
    needs: list[NodeNeed] = field(default_factory=list)
    cut_by: str = ""
    finished_at: int = 0


@dataclass(slots=True)
class Workflow:
    """A workflow with its nodes, as far as their jobs are kept, in the order in which they were added."""

    workflow: WorkflowInfo
    nodes: list[NodeInfo] = field(default_factory=list)
    position: Position | None = None


@dataclass(slots=True)
class WorkflowRequest(Question[Workflow]):
    """One workflow."""

    workflow_id: str


class WorkflowPage(NamedTuple):
    """The workflows of a page, oldest first; an empty next_page_token ends the walk."""

    workflows: list[WorkflowInfo]
    next_page_token: str = ""
    position: Position | None = None


@dataclass(slots=True)
class WorkflowsRequest(Question[WorkflowPage]):
    """One page of workflows."""

    name: str = ""
    statuses: Sequence[WorkflowStatus] = ()
    page_size: int = 0
    page_token: str = ""


class CancelledWorkflow(NamedTuple):
    """How many jobs were cancelled, and of how many the workers are asked to stop."""

    cancelled: int = 0
    asked: int = 0
    commit: Position | None = None
