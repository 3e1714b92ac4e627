"""ReleaseJob."""

from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import Violations
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import commit_position
from osqueue_service.rpc.queue_service.attempts import AttemptReader
from osqueue_service.rpc.refusals import told
from osqueue_service.state.commands import Release
from osqueue_service.state.model import Status
from osqueue_stubs.osqueue.v1 import queue_pb2


class Releases:
    """Serves ReleaseJob."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._reader = AttemptReader(broker.limits)

    async def ReleaseJob(self, request: queue_pb2.ReleaseJobRequest, context: Context) -> queue_pb2.ReleaseJobResponse:
        engine = self._broker.engine
        wrong = Violations()
        item = self._reader.release(request, wrong)
        self._reader.request_id(request.request_id, wrong)
        wrong.check()
        answer: Status = told(*await engine.execute(Release([item])))
        return queue_pb2.ReleaseJobResponse(status=answer.wire, commit=commit_position(engine))
