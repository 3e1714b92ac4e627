"""What producers call."""

from osqueue_service.errors import OsqueueError
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import TypeNames, check_count, check_name
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.stats import commit_position
from osqueue_service.rpc.status import item_error
from osqueue_service.rpc.submissions import SubmissionReader, size_of
from osqueue_service.rpc.violations import Violations
from osqueue_service.state.commands import Submit, SubmitAnswer
from osqueue_service.state.model import JobSpec
from osqueue_stubs.osqueue.v1 import queue_pb2


class Producing:
    """SubmitJob and SubmitJobs."""

    def __init__(self, broker: Broker, types: TypeNames) -> None:
        self._broker = broker
        self._limits = broker.limits
        self._reader = SubmissionReader(broker.limits, types)

    async def SubmitJob(self, request: queue_pb2.SubmitJobRequest, context: Context) -> queue_pb2.SubmitJobResponse:
        engine = self._broker.engine
        wrong = Violations()
        spec = self._reader.read(request, engine.now_ms(), wrong)
        check_name(request.request_id, "request_id", self._limits.id_chars, wrong)
        wrong.check()
        (answer,) = await engine.execute(Submit([spec], True, request.request_id), len(spec.payload))
        return queue_pb2.SubmitJobResponse(
            job_id=answer.job_id, deduplicated=answer.deduplicated, commit=commit_position(engine)
        )

    async def SubmitJobs(self, request: queue_pb2.SubmitJobsRequest, context: Context) -> queue_pb2.SubmitJobsResponse:
        engine = self._broker.engine
        atomic = request.atomic if request.HasField("atomic") else True
        wrong = Violations()
        check_count(len(request.jobs), "jobs", self._limits.batch_items, "batch_items", wrong, least=1)
        check_name(request.request_id, "request_id", self._limits.id_chars, wrong)
        wrong.check()
        refused: dict[int, OsqueueError] = {}
        if atomic:
            specs = self._read_all(request, engine.now_ms())
        else:
            specs, refused = self._read_each(request, engine.now_ms())
        answers: list[SubmitAnswer | OsqueueError] = []
        if specs:
            answers = await engine.execute(Submit(specs, atomic, request.request_id), size_of(specs))
        response = _results(answers, refused)
        if any(isinstance(answer, SubmitAnswer) for answer in answers):
            response.commit.CopyFrom(commit_position(engine))
        return response

    def _read_all(self, request: queue_pb2.SubmitJobsRequest, now_ms: int) -> list[JobSpec]:
        """All jobs; or the refusal of the call, which names what is wrong with any of them."""
        read = self._reader.read
        wrong = Violations("jobs")
        specs = []
        for wrong.index, job in enumerate(request.jobs):
            specs.append(read(job, now_ms, wrong))
            if job.request_id:
                _say_request_id(wrong)
        wrong.check()
        return specs

    def _read_each(
        self, request: queue_pb2.SubmitJobsRequest, now_ms: int
    ) -> tuple[list[JobSpec], dict[int, OsqueueError]]:
        """The good jobs, and what is wrong with each of the others by position."""
        read = self._reader.read
        wrong = Violations()
        specs: list[JobSpec] = []
        refused: dict[int, OsqueueError] = {}
        for position, job in enumerate(request.jobs):
            spec = read(job, now_ms, wrong)
            if job.request_id:
                _say_request_id(wrong)
            if wrong:
                refused[position] = wrong.refusal()
            else:
                specs.append(spec)
        return specs, refused


def _say_request_id(wrong: Violations) -> None:
    wrong.add("request_id", "is set inside a batch; the batch has its own, or give the job an idempotency_key")


def _results(
    answers: list[SubmitAnswer | OsqueueError], refused: dict[int, OsqueueError]
) -> queue_pb2.SubmitJobsResponse:
    """One result per job: the answers in order, at the positions that were not refused before."""
    response = queue_pb2.SubmitJobsResponse()
    add = response.results.add
    left = iter(answers)
    for position in range(len(answers) + len(refused)):
        answer = refused[position] if position in refused else next(left)
        if isinstance(answer, OsqueueError):
            add().error.CopyFrom(item_error(answer))
        else:
            submitted = add().submitted
            submitted.job_id = answer.job_id
            if answer.deduplicated:
                submitted.deduplicated = True
    return response
