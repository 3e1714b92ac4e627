"""What workers call."""

from osqueue_service.clock import Clock
from osqueue_service.engine.engine import Engine
from osqueue_service.errors import OsqueueError
from osqueue_service.ids import IdSource
from osqueue_service.rpc.attempts import AttemptReader
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.deadlines import patience
from osqueue_service.rpc.fields import TypeNames, check_count, check_name
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.jobs import claimed_jobs
from osqueue_service.rpc.stats import check_live, commit_position, view_position
from osqueue_service.rpc.status import item_error
from osqueue_service.rpc.violations import Violations
from osqueue_service.state.commands import Claim, Complete, CompleteItem, Fail, FailAnswer, Granted, Release
from osqueue_service.state.model import Status
from osqueue_stubs.osqueue.v1 import queue_pb2


class Working:
    """ClaimJob(s), Heartbeat(Jobs), CompleteJob(s), FailJob and ReleaseJob."""

    def __init__(self, broker: Broker, types: TypeNames, clock: Clock, ids: IdSource) -> None:
        self._broker = broker
        self._limits = broker.limits
        self._reader = AttemptReader(broker.limits, types)
        self._clock = clock
        self._ids = ids

    # --- claims --------------------------------------------------------------------------------------------------

    async def ClaimJob(self, request: queue_pb2.ClaimJobRequest, context: Context) -> queue_pb2.ClaimJobResponse:
        engine = self._broker.engine
        granted = await self._claim(request, context, engine)
        if not granted:
            return queue_pb2.ClaimJobResponse()
        (job,) = claimed_jobs(engine, granted)
        return queue_pb2.ClaimJobResponse(
            job_id=job.job_id,
            payload=job.payload,
            type=job.type,
            lease_token=job.lease_token,
            attempt=job.attempt,
            lease_expires_at=job.lease_expires_at,
            metadata=job.metadata,
            priority=job.priority,
            timeout_ms=job.timeout_ms,
            max_attempts=job.max_attempts,
            created_at=job.created_at,
            lease_ms=job.lease_ms,
            cancel_requested=job.cancel_requested,
            commit=commit_position(engine),
        )

    async def ClaimJobs(self, request: queue_pb2.ClaimJobsRequest, context: Context) -> queue_pb2.ClaimJobsResponse:
        engine = self._broker.engine
        granted = await self._claim(request, context, engine)
        if not granted:
            return queue_pb2.ClaimJobsResponse()
        return queue_pb2.ClaimJobsResponse(jobs=claimed_jobs(engine, granted), commit=commit_position(engine))

    async def _claim(
        self, request: queue_pb2.ClaimJobRequest | queue_pb2.ClaimJobsRequest, context: Context, engine: Engine
    ) -> list[Granted]:
        wrong = Violations()
        claim = self._reader.claim(request, wrong)
        wrong.check()
        engine.worker_seen(claim.worker_id, claim.types, request.worker_version)
        wait_ms = request.wait_ms
        if not wait_ms:
            return await engine.claim(claim)
        return await self._claim_waiting(claim, wait_ms, context, engine)

    async def _claim_waiting(self, claim: Claim, wait_ms: int, context: Context, engine: Engine) -> list[Granted]:
        """The wait ends before the caller's deadline. So does the call, even if storage is slow at the end: jobs
        that are committed too late to be heard of are given back."""
        allowed = patience(context, wait_ms, engine)
        if allowed.answer_ms is None:
            return await engine.claim(claim, allowed.wait_ms)
        try:
            return await self._clock.within_ms(allowed.answer_ms, engine.claim(claim, allowed.wait_ms))
        except TimeoutError:
            return []

    # --- heartbeats ----------------------------------------------------------------------------------------------

    async def Heartbeat(self, request: queue_pb2.HeartbeatRequest, context: Context) -> queue_pb2.HeartbeatResponse:
        engine = self._broker.engine
        wrong = Violations()
        renewal = self._reader.renewal(request, wrong)
        wrong.check()
        lease, cancel_requested = await engine.heartbeat(
            renewal.job_id, renewal.worker_id, renewal.token, renewal.progress
        )
        return queue_pb2.HeartbeatResponse(
            lease_expires_at=engine.expires_at(lease),
            cancel_requested=cancel_requested,
            position=view_position(engine),
        )

    async def HeartbeatJobs(
        self, request: queue_pb2.HeartbeatJobsRequest, context: Context
    ) -> queue_pb2.HeartbeatJobsResponse:
        engine = self._broker.engine
        self._check_batch(len(request.heartbeats), "heartbeats")
        check_live(engine)
        response = queue_pb2.HeartbeatJobsResponse(position=view_position(engine))
        add, read = response.results.add, self._reader.renewal
        wrong = Violations()
        refused = False
        for heartbeat in request.heartbeats:
            try:
                renewal = read(heartbeat, wrong)
                wrong.check()
                lease, cancel_requested = engine.renew(
                    renewal.job_id, renewal.worker_id, renewal.token, renewal.progress
                )
            except OsqueueError as error:
                refused = True
                add().error.CopyFrom(item_error(error))
            else:
                renewed = add().renewed
                renewed.lease_expires_at = engine.expires_at(lease)
                if cancel_requested:
                    renewed.cancel_requested = True
        if refused:
            # A refusal may rest on a change that is still under way.
            await engine.settled()
        return response

    # --- ends of attempts ----------------------------------------------------------------------------------------

    async def CompleteJob(
        self, request: queue_pb2.CompleteJobRequest, context: Context
    ) -> queue_pb2.CompleteJobResponse:
        engine = self._broker.engine
        wrong = Violations()
        item = self._reader.completion(request, wrong)
        self._check_request_id(request.request_id, wrong)
        wrong.check()
        (answer,) = await engine.execute(Complete([item]), len(item.result or b""))
        if answer is not None:
            raise answer
        return queue_pb2.CompleteJobResponse(commit=commit_position(engine))

    async def CompleteJobs(
        self, request: queue_pb2.CompleteJobsRequest, context: Context
    ) -> queue_pb2.CompleteJobsResponse:
        engine = self._broker.engine
        self._check_batch(len(request.completions), "completions", request.request_id)
        items, refused = self._read_completions(request)
        answers: list[OsqueueError | None] = []
        if items:
            answers = await engine.execute(Complete(items), sum([len(item.result or b"") for item in items]))
        response = queue_pb2.CompleteJobsResponse()
        add = response.results.add
        left = iter(answers)
        for position in range(len(request.completions)):
            error = refused[position] if position in refused else next(left)
            if error is None:
                add().completed.SetInParent()
            else:
                add().error.CopyFrom(item_error(error))
        if None in answers:
            response.commit.CopyFrom(commit_position(engine))
        return response

    def _read_completions(
        self, request: queue_pb2.CompleteJobsRequest
    ) -> tuple[list[CompleteItem], dict[int, OsqueueError]]:
        """The good completions, and what is wrong with each of the others by position."""
        read = self._reader.completion
        wrong = Violations()
        items: list[CompleteItem] = []
        refused: dict[int, OsqueueError] = {}
        for position, completion in enumerate(request.completions):
            item = read(completion, wrong)
            if completion.request_id:
                wrong.add("request_id", "is set inside a batch; the batch has its own")
            if wrong:
                refused[position] = wrong.refusal()
            else:
                items.append(item)
        return items, refused

    async def FailJob(self, request: queue_pb2.FailJobRequest, context: Context) -> queue_pb2.FailJobResponse:
        engine = self._broker.engine
        wrong = Violations()
        item = self._reader.failure(request, self._ids.jitter(), wrong)
        self._check_request_id(request.request_id, wrong)
        wrong.check()
        (answer,) = await engine.execute(Fail([item]), len(item.error_message))
        if not isinstance(answer, FailAnswer):
            raise answer
        return queue_pb2.FailJobResponse(
            status=answer.status.wire, run_at=answer.next_at, commit=commit_position(engine)
        )

    async def ReleaseJob(self, request: queue_pb2.ReleaseJobRequest, context: Context) -> queue_pb2.ReleaseJobResponse:
        engine = self._broker.engine
        wrong = Violations()
        item = self._reader.release(request, wrong)
        self._check_request_id(request.request_id, wrong)
        wrong.check()
        (answer,) = await engine.execute(Release([item]))
        if not isinstance(answer, Status):
            raise answer
        return queue_pb2.ReleaseJobResponse(status=answer.wire, commit=commit_position(engine))

    def _check_batch(self, count: int, field: str, request_id: str = "") -> None:
        wrong = Violations()
        check_count(count, field, self._limits.batch_items, "batch_items", wrong, least=1)
        self._check_request_id(request_id, wrong)
        wrong.check()

    def _check_request_id(self, request_id: str, wrong: Violations) -> None:
        """The token makes a repetition harmless; the id is checked so that a bad one is noticed early."""
        if request_id:
            check_name(request_id, "request_id", self._limits.id_chars, wrong)
