"""CancelJob, CancelJobs."""

from osqueue_service.errors import OsqueueError
from osqueue_service.rpc.access.signing import execute_signed
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import TypeNames, Violations, check_name
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import commit_position
from osqueue_service.rpc.refusals import told
from osqueue_service.rpc.selections import Selector
from osqueue_service.rpc.status import item_error
from osqueue_service.state.commands import Cancel
from osqueue_service.state.model import LIVE, Status
from osqueue_stubs.osqueue.v1 import queue_pb2


class Cancellations:
    """Serves CancelJob and CancelJobs."""

    def __init__(self, broker: Broker, types: TypeNames) -> None:
        self._broker = broker
        self._limits = broker.limits
        self._selector = Selector(broker, types)

    async def CancelJob(self, request: queue_pb2.CancelJobRequest, context: Context) -> queue_pb2.CancelJobResponse:
        engine = self._broker.engine
        wrong = Violations()
        check_name(request.job_id, "job_id", self._limits.id_chars, wrong, required=True)
        check_name(request.request_id, "request_id", self._limits.id_chars, wrong)
        wrong.check()
        status: Status = told(*await execute_signed(engine, Cancel([request.job_id]), context))
        response = queue_pb2.CancelJobResponse()
        _fill_cancelled(response, status)
        response.commit.CopyFrom(commit_position(engine))
        return response

    async def CancelJobs(self, request: queue_pb2.CancelJobsRequest, context: Context) -> queue_pb2.CancelJobsResponse:
        engine = self._broker.engine
        selection = await self._selector.select(engine, request, "CancelJobs", LIVE)
        answers = await self._selector.change(engine, Cancel(selection.job_ids), request.dry_run, context)
        response = queue_pb2.CancelJobsResponse(next_page_token=selection.next_page_token)
        for chosen, answer in zip(selection.jobs, answers, strict=True):
            result = response.results.add(job_id=chosen.job_id)
            if isinstance(answer, OsqueueError):
                result.error.CopyFrom(item_error(answer))
            else:
                _fill_cancelled(result.cancelled, answer)
        if not request.dry_run and any(isinstance(answer, Status) for answer in answers):
            response.commit.CopyFrom(commit_position(engine))
        return response


def _fill_cancelled(response: queue_pb2.CancelJobResponse, status: Status) -> None:
    response.status = status.wire
    response.cancel_requested = status is Status.IN_PROGRESS
