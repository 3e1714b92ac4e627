"""FailJob."""

from osqueue_service.ids import IdSource
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import Violations
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import commit_position
from osqueue_service.rpc.queue_service.attempts import AttemptReader
from osqueue_service.rpc.refusals import told
from osqueue_service.state.commands import Fail, FailAnswer
from osqueue_stubs.osqueue.v1 import queue_pb2


class Failures:
    """Serves FailJob."""

    def __init__(self, broker: Broker, ids: IdSource) -> None:
        self._broker = broker
        self._reader = AttemptReader(broker.limits)
        self._ids = ids

    async def FailJob(self, request: queue_pb2.FailJobRequest, context: Context) -> queue_pb2.FailJobResponse:
        engine = self._broker.engine
        wrong = Violations()
        item = self._reader.failure(request, self._ids.jitter(), wrong)
        self._reader.request_id(request.request_id, wrong)
        wrong.check()
        answer: FailAnswer = told(*await engine.execute(Fail([item]), len(item.error_message)))
        return queue_pb2.FailJobResponse(
            status=answer.status.wire, run_at=answer.next_at, commit=commit_position(engine)
        )
