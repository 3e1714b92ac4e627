"""OpenBatch, AddToBatch, SealBatch."""

from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import TypeNames, Violations, check_count, check_name, check_number
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import commit_position
from osqueue_service.rpc.queue_service.submissions import SubmissionReader, numbers_of
from osqueue_service.rpc.refusals import telling, told
from osqueue_service.rpc.uniqueness import OUTCOMES
from osqueue_service.state.batch_commands import AddToBatch, OpenBatch, SealBatch
from osqueue_service.state.batches import BatchSpec
from osqueue_service.state.batching import batch_of
from osqueue_service.state.model import JobSpec
from osqueue_stubs.osqueue.v1 import batches_pb2, queue_pb2


class BatchOpenings:
    """Serves OpenBatch, AddToBatch and SealBatch."""

    def __init__(self, broker: Broker, types: TypeNames) -> None:
        self._broker = broker
        self._limits = broker.limits
        self._reader = SubmissionReader(broker.limits, types, numbers_of(broker))

    async def OpenBatch(self, request: batches_pb2.OpenBatchRequest, context: Context) -> batches_pb2.OpenBatchResponse:
        engine, limits = self._broker.engine, self._limits
        wrong = Violations()
        check_name(request.name, "name", limits.id_chars, wrong)
        check_name(request.request_id, "request_id", limits.id_chars, wrong)
        parent = self._reader.batch(request.parent_batch_id, "parent_batch_id", wrong) if request.parent_batch_id else 0
        check_number(request.seal_after_ms, "seal_after_ms", 0, limits.seal_after_ms_max, wrong, " ms")
        callbacks = {
            name: self._callback(request, name, wrong)
            for name in ("on_first_dead", "on_success", "on_finished")
            if request.HasField(name)
        }
        wrong.check()
        seal_after_ms = request.seal_after_ms or limits.seal_after_ms
        spec = BatchSpec(request.name, parent, seal_after_ms, limits.batch_retention_ms, **callbacks)
        size = sum([job.size for job in callbacks.values()])
        answer = await engine.execute(OpenBatch(spec, request.request_id), size)
        return batches_pb2.OpenBatchResponse(batch_id=answer.batch_id, commit=commit_position(engine))

    async def AddToBatch(
        self, request: batches_pb2.AddToBatchRequest, context: Context
    ) -> batches_pb2.AddToBatchResponse:
        engine, limits = self._broker.engine, self._limits
        wrong = Violations("jobs")
        check_name(request.job_id, "job_id", limits.id_chars, wrong, required=True)
        check_name(request.worker_id, "worker_id", limits.id_chars, wrong, required=True)
        check_name(request.lease_token, "lease_token", limits.id_chars, wrong)
        check_name(request.request_id, "request_id", limits.id_chars, wrong)
        check_count(len(request.jobs), "jobs", limits.batch_items, "batch_items", wrong, least=1)
        wrong.check()
        jobs = []
        for wrong.index, job in enumerate(request.jobs):
            jobs.append(self._reader.read(job, engine.now_ms(), wrong))
            if job.request_id:
                wrong.add("request_id", "is set inside a batch; the call has its own")
        wrong.check()
        command = AddToBatch(request.job_id, request.worker_id, request.lease_token, jobs, request.request_id)
        answers = await engine.execute(command, sum([spec.size for spec in jobs]))
        return batches_pb2.AddToBatchResponse(
            jobs=[
                queue_pb2.SubmitJobResponse(
                    job_id=answer.job_id, deduplicated=answer.deduplicated, outcome=OUTCOMES[answer.outcome]
                )
                for answer in answers
            ],
            commit=commit_position(engine),
        )

    async def SealBatch(self, request: batches_pb2.SealBatchRequest, context: Context) -> batches_pb2.SealBatchResponse:
        engine = self._broker.engine
        wrong = Violations()
        check_name(request.batch_id, "batch_id", self._limits.id_chars, wrong, required=True)
        wrong.check()
        number = told(await engine.views.read(telling(lambda state: batch_of(state, request.batch_id).number)))
        await engine.execute(SealBatch(number))
        return batches_pb2.SealBatchResponse(commit=commit_position(engine))

    def _callback(self, request: batches_pb2.OpenBatchRequest, name: str, wrong: Violations) -> JobSpec:
        wrong.part = f"{name}."
        spec = self._reader.template(getattr(request, name), wrong)
        wrong.part = ""
        return spec
