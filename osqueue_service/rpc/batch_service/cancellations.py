"""CancelBatch."""

from osqueue_service.rpc.access.signing import execute_signed
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import Violations, check_name
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import commit_position
from osqueue_service.rpc.refusals import telling, told
from osqueue_service.state.batch_commands import CancelBatch
from osqueue_service.state.batching import batch_of
from osqueue_stubs.osqueue.v1 import batches_pb2


class BatchCancellations:
    """Serves CancelBatch."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._limits = broker.limits

    async def CancelBatch(
        self, request: batches_pb2.CancelBatchRequest, context: Context
    ) -> batches_pb2.CancelBatchResponse:
        engine = self._broker.engine
        wrong = Violations()
        check_name(request.batch_id, "batch_id", self._limits.id_chars, wrong, required=True)
        wrong.check()
        number = told(await engine.views.read(telling(lambda state: batch_of(state, request.batch_id).number)))
        live = await execute_signed(engine, CancelBatch(number), context)
        return batches_pb2.CancelBatchResponse(live=live, commit=commit_position(engine))
