"""Calls about workflows as messages of the API, over whatever carries those."""

from typing import TYPE_CHECKING

from osqueue.api.mapping import reader, to_message
from osqueue.workflow_messages import (
    AddToWorkflowRequest,
    CancelledWorkflow,
    SubmittedWorkflow,
    SubmitWorkflowRequest,
)
from osqueue_stubs.osqueue.v1 import workflows_pb2

if TYPE_CHECKING:
    from osqueue.transports.wire import Link


class WireWorkflows:
    """`WorkflowTransport` over a link."""

    _link: "Link"

    async def submit_workflow(self, request: SubmitWorkflowRequest, *, timeout_ms: int) -> SubmittedWorkflow:
        asked = to_message(request, workflows_pb2.SubmitWorkflowRequest)
        answer = await self._link.call("SubmitWorkflow", asked, timeout_ms)
        return reader(SubmittedWorkflow, workflows_pb2.SubmitWorkflowResponse)(answer)

    async def add_to_workflow(self, request: AddToWorkflowRequest, *, timeout_ms: int) -> SubmittedWorkflow:
        asked = to_message(request, workflows_pb2.AddToWorkflowRequest)
        answer = await self._link.call("AddToWorkflow", asked, timeout_ms)
        return reader(SubmittedWorkflow, workflows_pb2.AddToWorkflowResponse)(answer)

    async def cancel_workflow(self, workflow_id: str, *, timeout_ms: int) -> CancelledWorkflow:
        asked = workflows_pb2.CancelWorkflowRequest(workflow_id=workflow_id)
        answer = await self._link.call("CancelWorkflow", asked, timeout_ms)
        return reader(CancelledWorkflow, workflows_pb2.CancelWorkflowResponse)(answer)
