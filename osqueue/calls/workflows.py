"""Calls about workflows: jobs that need other jobs to end before they run."""

from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from osqueue.calls.base import Calls, lease_of
from osqueue.calls.reading import read
from osqueue.errors import TransportConfigError
from osqueue.flows import WorkflowBuilder
from osqueue.job import HoldsLease
from osqueue.session import Session
from osqueue.submission import text
from osqueue.transports.protocol import WorkflowTransport
from osqueue.workflow_messages import (
    AddToWorkflowRequest,
    CancelledWorkflow,
    SubmittedWorkflow,
    SubmitWorkflowRequest,
    Workflow,
    WorkflowInfo,
    WorkflowNode,
    WorkflowRequest,
    WorkflowsRequest,
    WorkflowStatus,
)

if TYPE_CHECKING:
    from osqueue.client import OsqueueClient


class WorkflowCalls(Calls):
    """Submitting workflows, and looking after them."""

    def workflow(self, name: str = "") -> WorkflowBuilder:
        """A workflow to put together; its `submit` submits it."""
        return WorkflowBuilder(name, cast("OsqueueClient", self))

    async def submit_workflow(self, name: str, nodes: Sequence[WorkflowNode]) -> SubmittedWorkflow:
        """Submit jobs that need each other, all or none, in one commit; at most 1,000.

        `osqueue.WorkflowBuilder` makes the nodes. Errors: `BrokerProtocolError` names what is wrong with which node,
        `QueueFullError`.
        """
        session = self._open()
        request_id = session.request_id()
        request = SubmitWorkflowRequest(text("name", name), session.codecs.nodes(nodes, request_id), request_id)
        transport, since = _workflows_of(session), session.seen
        answer = await session.run(
            lambda: transport.submit_workflow(request, timeout_ms=self.options.timeout_ms), changes=True
        )
        session.wrote(answer.commit, since)
        return answer

    async def add_to_workflow(self, job: HoldsLease, nodes: Sequence[WorkflowNode]) -> SubmittedWorkflow:
        """Add jobs to the workflow of a running job, by the lease of that job. Repeated, it adds none twice: a node
        that is there already is answered. `LeaseLostError`, `BrokerProtocolError`, `QueueFullError`."""
        session = self._open()
        lease = lease_of(job)
        request = AddToWorkflowRequest(*lease, nodes=session.codecs.nodes(nodes, f"added by {job.job_id}"))
        transport, since = _workflows_of(session), session.seen
        answer = await session.run(
            lambda: transport.add_to_workflow(request, timeout_ms=self.options.timeout_ms), changes=True
        )
        session.wrote(answer.commit, since)
        return answer

    async def get_workflow(self, workflow_id: str) -> Workflow:
        """A workflow with all of its nodes. `JobNotFoundError` when there is none, or none of its jobs is kept."""
        session = self._open()
        question = WorkflowRequest(text("workflow_id", workflow_id))
        return await read(session, lambda: session.transport.ask(question, timeout_ms=self.options.timeout_ms))

    async def list_workflows(
        self, *, name: str = "", statuses: Iterable[WorkflowStatus] = ()
    ) -> AsyncIterator[WorkflowInfo]:
        """Workflows, oldest first, as you iterate: of that name, in one of those states."""
        session = self._open()
        page = WorkflowsRequest(text("name", name), tuple(statuses))
        while True:
            answer = await read(session, partial(session.transport.ask, page, timeout_ms=self.options.timeout_ms))
            for workflow in answer.workflows:
                yield workflow
            if not answer.next_page_token:
                return
            page = WorkflowsRequest(page.name, page.statuses, page.page_size, answer.next_page_token)

    async def cancel_workflow(self, workflow_id: str) -> CancelledWorkflow:
        """Cancel all jobs of a workflow that wait, and ask the workers of those that run to stop."""
        session = self._open()
        text("workflow_id", workflow_id)
        transport, since = _workflows_of(session), session.seen
        answer = await session.run(
            lambda: transport.cancel_workflow(workflow_id, timeout_ms=self.options.timeout_ms), changes=True
        )
        session.wrote(answer.commit, since)
        return answer


def _workflows_of(session: Session) -> WorkflowTransport:
    transport = session.transport
    if isinstance(transport, WorkflowTransport):
        return transport
    raise TransportConfigError(f"the transport {session.transport.name!r} has no calls for workflows")
