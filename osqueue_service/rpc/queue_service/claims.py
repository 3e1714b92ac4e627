"""ClaimJob, ClaimJobs."""

from osqueue_service.clock import Clock
from osqueue_service.engine.engine import Engine
from osqueue_service.limits import Limits
from osqueue_service.rpc.access.checks import check_claim
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.deadlines import allowed_wait
from osqueue_service.rpc.fields import TypeNames, Violations, check_duration, check_name, check_number
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.job_info import fill_claimed
from osqueue_service.rpc.positions import commit_position
from osqueue_service.state.commands import Claim, Granted
from osqueue_stubs.osqueue.v1 import queue_pb2

_INT64_MAX = 2**63 - 1


class Claims:
    """Serves ClaimJob and ClaimJobs."""

    def __init__(self, broker: Broker, types: TypeNames, clock: Clock) -> None:
        self._broker = broker
        self._reader = ClaimReader(broker.limits, types)
        self._clock = clock

    async def ClaimJob(self, request: queue_pb2.ClaimJobRequest, context: Context) -> queue_pb2.ClaimJobResponse:
        engine = self._broker.engine
        granted = await self._claim(request, context, engine)
        if not granted:
            return queue_pb2.ClaimJobResponse()
        response = queue_pb2.ClaimJobResponse(commit=commit_position(engine))
        fill_claimed(engine, granted, lambda: response)
        return response

    async def ClaimJobs(self, request: queue_pb2.ClaimJobsRequest, context: Context) -> queue_pb2.ClaimJobsResponse:
        engine = self._broker.engine
        granted = await self._claim(request, context, engine)
        if not granted:
            return queue_pb2.ClaimJobsResponse()
        response = queue_pb2.ClaimJobsResponse(commit=commit_position(engine))
        fill_claimed(engine, granted, response.jobs.add)
        return response

    async def _claim(
        self, request: queue_pb2.ClaimJobRequest | queue_pb2.ClaimJobsRequest, context: Context, engine: Engine
    ) -> list[Granted]:
        wrong = Violations()
        claim = self._reader.read(request, wrong)
        wrong.check()
        check_claim(claim.types)
        engine.heartbeats.workers.claims(claim.worker_id, engine.now_ms(), claim.types, request.worker_version)
        wait_ms = request.wait_ms
        if not wait_ms:
            return await engine.claim(claim)
        return await self._claim_waiting(claim, wait_ms, context, engine)

    async def _claim_waiting(self, claim: Claim, wait_ms: int, context: Context, engine: Engine) -> list[Granted]:
        """The wait ends before the caller's deadline. So does the call, even if storage is slow at the end: jobs
        that are committed too late to be heard of are given back."""
        allowed = allowed_wait(context, wait_ms, engine)
        if allowed.answer_ms is None:
            return await engine.claim(claim, allowed.wait_ms)
        try:
            return await self._clock.within_ms(allowed.answer_ms, engine.claim(claim, allowed.wait_ms))
        except TimeoutError:
            return []


class ClaimReader:
    """Reads what claims ask for."""

    def __init__(self, limits: Limits, types: TypeNames) -> None:
        self._limits = limits
        self._types = types

    def read(self, request: "queue_pb2.ClaimJobRequest | queue_pb2.ClaimJobsRequest", wrong: Violations) -> Claim:
        """A claim for one job, or for several."""
        limits = self._limits
        check_name(request.worker_id, "worker_id", limits.id_chars, wrong, required=True)
        check_name(request.claim_key, "claim_key", limits.id_chars, wrong)
        check_name(request.worker_version, "worker_version", limits.id_chars, wrong)
        if request.wait_ms < 0:
            wrong.add("wait_ms", f"is {request.wait_ms}; it must be 0 (do not wait) or more")
        least_ms, most_ms = limits.lease_ms_min, limits.lease_ms_max
        check_duration(request.lease_ms, "lease_ms", least_ms, most_ms, "the job's or the default", wrong)
        max_jobs, max_bytes = 1, 0
        if isinstance(request, queue_pb2.ClaimJobsRequest):
            max_jobs, max_bytes = request.max_jobs or 1, request.max_bytes
            check_number(max_jobs, "max_jobs", 1, limits.batch_items, wrong)
            check_number(max_bytes, "max_bytes", 0, _INT64_MAX, wrong, " bytes")
        return Claim(
            request.worker_id,
            self._types.read_all(request.types, "types", limits.claim_types, wrong),
            max_jobs,
            min(max_bytes, limits.page_bytes) or limits.page_bytes,
            request.lease_ms,
            request.claim_key,
        )
