"""RetryJobs."""

from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import TypeNames
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import commit_position
from osqueue_service.rpc.selections import Selector
from osqueue_service.rpc.status import item_error
from osqueue_service.state.commands import Retry
from osqueue_service.state.model import Status
from osqueue_stubs.osqueue.v1 import queue_pb2


class Retries:
    """Serves RetryJobs."""

    def __init__(self, broker: Broker, types: TypeNames) -> None:
        self._broker = broker
        self._selector = Selector(broker, types)

    async def RetryJobs(self, request: queue_pb2.RetryJobsRequest, context: Context) -> queue_pb2.RetryJobsResponse:
        engine = self._broker.engine
        selection = await self._selector.select(engine, request, "RetryJobs", (Status.DEAD,))
        answers = await self._selector.change(engine, Retry(selection.job_ids), request.dry_run, context)
        response = queue_pb2.RetryJobsResponse(next_page_token=selection.next_page_token)
        for chosen, answer in zip(selection.jobs, answers, strict=True):
            result = response.results.add(job_id=chosen.job_id)
            if answer is None:
                result.retried.status = Status.UNCLAIMED.wire
                result.retried.next_attempt = chosen.claims + 1
            else:
                result.error.CopyFrom(item_error(answer))
        if not request.dry_run and None in answers:
            response.commit.CopyFrom(commit_position(engine))
        return response
