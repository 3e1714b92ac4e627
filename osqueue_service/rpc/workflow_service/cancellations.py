"""CancelWorkflow."""

from osqueue_service.rpc.access.signing import execute_signed
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import Violations, check_name
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import commit_position
from osqueue_service.rpc.refusals import telling, told
from osqueue_service.state.commands import CancelWorkflow
from osqueue_service.state.workflows import graph_of
from osqueue_stubs.osqueue.v1 import workflows_pb2


class WorkflowCancellations:
    """Serves CancelWorkflow."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._limits = broker.limits

    async def CancelWorkflow(
        self, request: workflows_pb2.CancelWorkflowRequest, context: Context
    ) -> workflows_pb2.CancelWorkflowResponse:
        engine = self._broker.engine
        wrong = Violations()
        check_name(request.workflow_id, "workflow_id", self._limits.id_chars, wrong, required=True)
        wrong.check()
        number = told(
            await engine.views.read(telling(lambda state: graph_of(state, request.workflow_id).workflow.number))
        )
        cancelled, asked = await execute_signed(engine, CancelWorkflow(number), context)
        return workflows_pb2.CancelWorkflowResponse(cancelled=cancelled, asked=asked, commit=commit_position(engine))
