"""GetBatch, ListBatches."""

from itertools import islice

from osqueue_service.limits import Limits
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import Violations, check_count, check_name, check_number
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.page_tokens import Walk
from osqueue_service.rpc.positions import view_position
from osqueue_service.rpc.refusals import telling, told
from osqueue_service.state.batches import COMPLETED, DEAD, Batch
from osqueue_service.state.batching import batch_of
from osqueue_service.state.state import State
from osqueue_stubs.osqueue.v1 import batches_pb2

STATUSES = ("open", "sealed", "completed", "dead", "cancelled")


class BatchReading:
    """Serves GetBatch and ListBatches."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._limits = broker.limits

    async def GetBatch(self, request: batches_pb2.GetBatchRequest, context: Context) -> batches_pb2.GetBatchResponse:
        engine = self._broker.engine
        wrong = Violations()
        check_name(request.batch_id, "batch_id", self._limits.id_chars, wrong, required=True)
        wrong.check()
        position = view_position(engine)
        info = told(await engine.views.read(telling(lambda state: _info(state, batch_of(state, request.batch_id)))))
        return batches_pb2.GetBatchResponse(batch=info, position=position)

    async def ListBatches(
        self, request: batches_pb2.ListBatchesRequest, context: Context
    ) -> batches_pb2.ListBatchesResponse:
        engine = self._broker.engine
        wrong = Violations()
        check_name(request.name, "name", self._limits.id_chars, wrong)
        check_count(len(request.statuses), "statuses", len(STATUSES), "one of each", wrong)
        for place, status in enumerate(request.statuses):
            if status not in STATUSES:
                wrong.add(f"statuses[{place}]", f"is {status!r}; it must be one of {', '.join(STATUSES)}")
        check_number(request.page_size, "page_size", 0, self._limits.page_items, wrong)
        wrong.check()
        position = view_position(engine)
        answer = told(await engine.views.read(telling(lambda state: _page(state, request, self._limits))))
        answer.position.CopyFrom(position)
        return answer


def status_of(batch: Batch) -> str:
    """How the batch stands as a whole."""
    if not batch.sealed_at:
        return "open"
    if batch.live:
        return "sealed"
    return {COMPLETED: "completed", DEAD: "dead"}.get(batch.outcome, "cancelled")


def _page(state: State, request: batches_pb2.ListBatchesRequest, limits: Limits) -> batches_pb2.ListBatchesResponse:
    walk = Walk("ListBatches", batches_pb2.ListBatchesRequest(name=request.name, statuses=request.statuses))
    after = walk.start(state, request.page_token)
    most = request.page_size or limits.page_items
    answer = batches_pb2.ListBatchesResponse()
    # By number, as they were opened: a dictionary keeps that order.
    later = (batch for number, batch in state.batches.by_number.items() if number > after)
    for batch in islice(later, limits.page_candidates):
        if len(answer.batches) == most:
            break
        after = batch.number
        if request.name in ("", batch.spec.name) and (not request.statuses or status_of(batch) in request.statuses):
            answer.batches.append(_info(state, batch))
    if any(number > after for number in reversed(state.batches.by_number)):
        answer.next_page_token = walk.token(state, after)
    return answer


def _info(state: State, batch: Batch) -> batches_pb2.BatchInfo:
    def id_of(number: int) -> str:
        return state.id_of_number(number) if number else ""

    return batches_pb2.BatchInfo(
        id=id_of(batch.number),
        name=batch.spec.name,
        status=status_of(batch),
        parent_batch_id=id_of(batch.spec.parent),
        created_at=batch.created_at,
        sealed_at=batch.sealed_at,
        cancelled_at=batch.cancelled_at,
        finished_at=batch.finished_at,
        total=batch.total,
        live=batch.live,
        completed=batch.completed,
        dead=batch.dead,
        cancelled=batch.cancelled,
        purged=batch.purged,
        first_dead_job_id=id_of(batch.first_dead_job),
        success_job_id=id_of(batch.success_job),
        finished_job_id=id_of(batch.finished_job),
    )
