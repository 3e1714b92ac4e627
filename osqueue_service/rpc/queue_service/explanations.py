"""ExplainJob."""

from itertools import islice

from osqueue_service.engine.engine import Engine
from osqueue_service.engine.workers import LATELY_MS
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fairness import weight_of
from osqueue_service.rpc.fields import Violations, check_name
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import view_position
from osqueue_service.rpc.refusals import telling, told
from osqueue_service.state.model import Job
from osqueue_service.state.queries.explanations import COUNTED_MAX, Serving, Why, explain
from osqueue_service.state.state import State
from osqueue_stubs.osqueue.v1 import queue_pb2

_REASONS = {why: queue_pb2.ExplainReason.Value(f"EXPLAIN_REASON_{why.name}") for why in Why}


class Explanations:
    """Serves ExplainJob."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def ExplainJob(self, request: queue_pb2.ExplainJobRequest, context: Context) -> queue_pb2.ExplainJobResponse:
        engine = self._broker.engine
        wrong = Violations()
        check_name(request.job_id, "job_id", self._broker.limits.id_chars, wrong, required=True)
        wrong.check()
        return told(
            await engine.views.read(telling(lambda state: _explained(engine, state, state.get(request.job_id))))
        )


def _explained(engine: Engine, state: State, job: Job) -> queue_pb2.ExplainJobResponse:
    found = explain(state, job, lambda type_name: _serving(engine, type_name), engine.now_ms())
    answer = queue_pb2.ExplainJobResponse(
        status=found.status.wire,
        reasons=[_REASONS[why] for why in found.reasons],
        message=found.message,
        jobs_ahead=found.jobs_ahead,
        workers=found.workers,
        run_at=found.run_at,
        worker_id=found.worker_id,
        finished_at=found.finished_at,
        blocked_by=found.blocked_by,
        unique_key=found.unique_key,
        sequence_key=found.sequence_key,
        sequence_ahead=found.sequence_ahead,
        position=view_position(engine),
    )
    for block in found.limits:
        shown = answer.limits.add(limit=block.limit, key=block.key, running=block.running, next_start_at=block.opens_at)
        if block.max_running >= 0:
            shown.max_running = block.max_running
    if found.fair_turn is not None:
        turn = found.fair_turn
        answer.fair_turn.key, answer.fair_turn.keys_ahead = turn.key, turn.keys_ahead
        answer.fair_turn.weight = weight_of(state.fairness, turn.key)
    if found.error_type:
        answer.error.type, answer.error.message = found.error_type, found.error_message
    lease = engine.views.lease_of(job.number)
    if lease is not None:
        answer.lease_expires_at = lease.expires_at
    return answer


def _serving(engine: Engine, type_name: str) -> Serving:
    """The workers that take the type and were heard of lately, as far as they are counted."""
    since = engine.now_ms() - LATELY_MS
    workers = list(islice(engine.views.workers.serving(type_name, since), COUNTED_MAX))
    busy = not engine.is_awaited(type_name) and all(worker.is_busy(type_name, since) for worker in workers)
    return Serving(len(workers), busy)
