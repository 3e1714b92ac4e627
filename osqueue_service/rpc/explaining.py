"""Why a job is not running."""

from itertools import islice

from osqueue_service.engine.engine import Engine
from osqueue_service.engine.workers import Worker
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import check_name
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.refusals import telling, told
from osqueue_service.rpc.stats import SEEN_LATELY_MS, view_position
from osqueue_service.rpc.violations import Violations
from osqueue_service.state.model import Job, Status
from osqueue_service.state.state import State
from osqueue_stubs.osqueue.v1 import queue_pb2

COUNTED_MAX = 10_000
"""Jobs ahead are counted up to here; the queue may be a hundred times as long."""


class Explaining:
    """ExplainJob."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def ExplainJob(self, request: queue_pb2.ExplainJobRequest, context: Context) -> queue_pb2.ExplainJobResponse:
        engine = self._broker.engine
        wrong = Violations()
        check_name(request.job_id, "job_id", self._broker.limits.id_chars, wrong, required=True)
        wrong.check()
        return told(await engine.read(telling(lambda state: _explain(engine, state, state.get(request.job_id)))))


def _explain(engine: Engine, state: State, job: Job) -> queue_pb2.ExplainJobResponse:
    answer = queue_pb2.ExplainJobResponse(status=job.status.wire, position=view_position(engine))
    if job.history and job.history[-1].error_type:
        answer.error.type = job.history[-1].error_type
        answer.error.message = job.history[-1].error_message
    match job.status:
        case Status.UNCLAIMED:
            _waiting(engine, state, job, answer)
        case Status.SCHEDULED:
            _scheduled(state, job, answer)
        case Status.IN_PROGRESS:
            _running(engine, job, answer)
        case _:
            answer.reasons.append(queue_pb2.EXPLAIN_REASON_FINISHED)
            answer.finished_at = job.finished_at
            answer.message = _finished(job)
    return answer


def _waiting(engine: Engine, state: State, job: Job, answer: queue_pb2.ExplainJobResponse) -> None:
    name = job.spec.type
    said: list[str] = []
    if name in state.ready.paused:
        answer.reasons.append(queue_pb2.EXPLAIN_REASON_TYPE_PAUSED)
        said.append(f"its type {name!r} is paused")
    workers = list(islice(engine.workers.serving(name, engine.now_ms() - SEEN_LATELY_MS), COUNTED_MAX))
    answer.workers = len(workers)
    if not workers:
        answer.reasons.append(queue_pb2.EXPLAIN_REASON_NO_WORKER)
        said.append(f"no worker that takes {_type(name)} was heard of in the last two minutes")
    elif all(map(_is_busy, workers)):
        answer.reasons.append(queue_pb2.EXPLAIN_REASON_WORKERS_BUSY)
        said.append(f"all {len(workers)} workers that take {_type(name)} are busy")
    ahead = _ahead(state, job)
    answer.jobs_ahead = ahead
    if ahead:
        answer.reasons.append(queue_pb2.EXPLAIN_REASON_BEHIND)
        many = f"{ahead}" if ahead < COUNTED_MAX else f"at least {ahead}"
        said.append(f"{many} jobs of its type are claimed before it")
    elif not answer.reasons:
        answer.reasons.append(queue_pb2.EXPLAIN_REASON_NEXT)
        said.append("it is the next to be claimed")
    answer.message = f"It waits: {'; '.join(said)}."


def _ahead(state: State, job: Job) -> int:
    """Jobs of its type that would be claimed before it, counted up to a limit."""
    for count, other in enumerate(islice(state.ready.of_type(job.spec.type), COUNTED_MAX)):
        if other is job:
            return count
    return COUNTED_MAX


def _is_busy(worker: Worker) -> bool:
    return worker.leases >= max(worker.slots, 1)


def _scheduled(state: State, job: Job, answer: queue_pb2.ExplainJobResponse) -> None:
    answer.run_at = job.due_at
    if job.claims:
        answer.reasons.append(queue_pb2.EXPLAIN_REASON_BACKING_OFF)
        answer.message = f"Attempt {job.claims} failed; the next one is due at run_at."
    else:
        answer.reasons.append(queue_pb2.EXPLAIN_REASON_DELAYED)
        answer.message = "It was submitted to run later, at run_at."
    if job.spec.type in state.ready.paused:
        answer.reasons.append(queue_pb2.EXPLAIN_REASON_TYPE_PAUSED)
        answer.message += f" Its type {job.spec.type!r} is paused, so it will wait even then."


def _running(engine: Engine, job: Job, answer: queue_pb2.ExplainJobResponse) -> None:
    lease = job.lease
    assert lease is not None
    answer.worker_id = lease.worker_id
    live = engine.lease_of(job.number)
    if live is not None:
        answer.lease_expires_at = engine.expires_at(live)
    answer.reasons.append(queue_pb2.EXPLAIN_REASON_RUNNING)
    answer.message = f"It is running: worker {lease.worker_id!r} holds attempt {lease.attempt}."
    if job.cancel_requested:
        answer.reasons.append(queue_pb2.EXPLAIN_REASON_CANCEL_REQUESTED)
        answer.message += " Its worker was asked to stop."


def _finished(job: Job) -> str:
    match job.status:
        case Status.DEAD:
            last = job.history[-1] if job.history else None
            why = f": {last.error_type or last.ending.name.lower()}" if last else ""
            return f"It is dead after {job.attempts} attempts{why}. Retry it, or purge it."
        case Status.CANCELLED:
            return "It was cancelled."
        case _:
            return "It is completed."


def _type(name: str) -> str:
    return f"the type {name!r}" if name else "jobs without a type"
