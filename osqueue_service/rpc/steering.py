"""What operators call to change the course of jobs: cancel, retry, purge, pause, resume, step down."""

import logging
from typing import Any

from msgspec import Struct

from osqueue_service.engine.engine import Engine
from osqueue_service.errors import InvalidRequest, OsqueueError
from osqueue_service.rpc.attempts import AttemptReader
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import TypeNames, check_count, check_name, check_text
from osqueue_service.rpc.filters import FINISHED, LIVE, read_filter
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.pages import Walk, page
from osqueue_service.rpc.refusals import telling, told
from osqueue_service.rpc.stats import commit_position
from osqueue_service.rpc.status import item_error
from osqueue_service.rpc.violations import Violations
from osqueue_service.state.commands import Cancel, Command, PauseTypes, Purge, ResumeTypes, Retry
from osqueue_service.state.machine import decide
from osqueue_service.state.model import Job, Status
from osqueue_service.state.state import State
from osqueue_stubs.osqueue.v1 import admin_pb2, queue_pb2

log = logging.getLogger(__name__)

Selecting = queue_pb2.CancelJobsRequest | queue_pb2.RetryJobsRequest | admin_pb2.PurgeRequest


class Chosen(Struct, frozen=True):
    """A job that a request names or matches, as it was then; `status` is None for one that is not there."""

    job_id: str
    status: Status | None = None
    claims: int = 0


class Selection(Struct, frozen=True):
    """The jobs of one call, and where the next call goes on."""

    jobs: list[Chosen]
    next_page_token: str = ""

    @property
    def job_ids(self) -> list[str]:
        return [job.job_id for job in self.jobs]


class Steering:
    """CancelJob(s), RetryJobs, Purge, PauseTypes, ResumeTypes and StepDown."""

    def __init__(self, broker: Broker, types: TypeNames) -> None:
        self._broker = broker
        self._limits = broker.limits
        self._types = types
        self._reader = AttemptReader(broker.limits, types)

    async def CancelJob(self, request: queue_pb2.CancelJobRequest, context: Context) -> queue_pb2.CancelJobResponse:
        engine = self._broker.engine
        wrong = Violations()
        check_name(request.job_id, "job_id", self._limits.id_chars, wrong, required=True)
        check_name(request.request_id, "request_id", self._limits.id_chars, wrong)
        wrong.check()
        (answer,) = await engine.execute(Cancel([request.job_id]))
        response = queue_pb2.CancelJobResponse()
        _fill_cancelled(response, told(answer))
        response.commit.CopyFrom(commit_position(engine))
        return response

    async def CancelJobs(self, request: queue_pb2.CancelJobsRequest, context: Context) -> queue_pb2.CancelJobsResponse:
        engine = self._broker.engine
        selection = await self._select(engine, request, "CancelJobs", LIVE)
        answers = await self._do(engine, Cancel(selection.job_ids), request.dry_run)
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

    async def RetryJobs(self, request: queue_pb2.RetryJobsRequest, context: Context) -> queue_pb2.RetryJobsResponse:
        engine = self._broker.engine
        selection = await self._select(engine, request, "RetryJobs", (Status.DEAD,))
        answers = await self._do(engine, Retry(selection.job_ids), request.dry_run)
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

    async def Purge(self, request: admin_pb2.PurgeRequest, context: Context) -> admin_pb2.PurgeResponse:
        engine = self._broker.engine
        selection = await self._select(engine, request, "Purge", FINISHED)
        removable = [job.job_id for job in selection.jobs if job.status not in LIVE]
        answers = iter(await self._do(engine, Purge(removable), request.dry_run))
        response = admin_pb2.PurgeResponse(next_page_token=selection.next_page_token)
        purged = False
        for chosen in selection.jobs:
            result = response.results.add(job_id=chosen.job_id)
            answer = _live_refusal(chosen) if chosen.status in LIVE else next(answers)
            if answer is not None:
                result.error.CopyFrom(item_error(answer))
            elif chosen.status is not None:
                result.purged_status = chosen.status.wire
                purged = True
        if purged and not request.dry_run:
            response.commit.CopyFrom(commit_position(engine))
        return response

    async def PauseTypes(self, request: admin_pb2.PauseTypesRequest, context: Context) -> admin_pb2.PauseTypesResponse:
        engine = self._broker.engine
        paused = await engine.execute(PauseTypes(self._read_types(request)))
        return admin_pb2.PauseTypesResponse(paused_types=paused, commit=commit_position(engine))

    async def ResumeTypes(
        self, request: admin_pb2.ResumeTypesRequest, context: Context
    ) -> admin_pb2.ResumeTypesResponse:
        engine = self._broker.engine
        paused = await engine.execute(ResumeTypes(self._read_types(request)))
        return admin_pb2.ResumeTypesResponse(paused_types=paused, commit=commit_position(engine))

    async def StepDown(self, request: admin_pb2.StepDownRequest, context: Context) -> admin_pb2.StepDownResponse:
        engine = self._broker.engine
        wrong = Violations()
        check_text(request.reason, "reason", self._limits.reason_bytes, "reason_bytes", wrong)
        wrong.check()
        log.warning("asked to step down: %s", request.reason or "no reason given")
        await self._broker.step_down()
        return admin_pb2.StepDownResponse(commit=commit_position(engine))

    def _read_types(self, request: admin_pb2.PauseTypesRequest | admin_pb2.ResumeTypesRequest) -> list[str]:
        wrong = Violations()
        names = self._reader.types(request.types, "types", self._limits.claim_types, wrong, least=1)
        check_name(request.request_id, "request_id", self._limits.id_chars, wrong)
        wrong.check()
        return names

    async def _select(self, engine: Engine, request: Selecting, rpc: str, allowed: tuple[Status, ...]) -> Selection:
        """The jobs that the request names, or the next of those that its filter matches."""
        limits = self._limits
        wrong = Violations()
        filtered = request.HasField("filter")
        if bool(request.job_ids) == filtered:
            wrong.add("job_ids", "must be set, or filter, and not both")
        check_count(len(request.job_ids), "job_ids", limits.batch_items, "batch_items", wrong)
        for position, job_id in enumerate(request.job_ids[: limits.batch_items]):
            check_name(job_id, f"job_ids[{position}]", limits.id_chars, wrong, required=True)
        check_name(request.request_id, "request_id", limits.id_chars, wrong)
        if request.page_token and not filtered:
            wrong.add("page_token", "goes with a filter; job_ids are all taken at once")
        wanted = read_filter(request.filter, limits, self._types, wrong, default=allowed, allowed=allowed)
        wrong.check()
        if not filtered:
            ids = list(request.job_ids)
            return await engine.read(lambda state: Selection([_chosen(job_id, state.find(job_id)) for job_id in ids]))
        walk = Walk(rpc, request.filter)

        def view(state: State) -> Selection:
            after = walk.start(state, request.page_token)
            found = page(state, wanted, after, limits.batch_items, limits, lambda job: 0)
            token = walk.token(state, found.next_after) if found.next_after is not None else ""
            return Selection([_chosen(state.job_id(job), job) for job in found.jobs], token)

        return told(await engine.read(telling(view)))

    async def _do(self, engine: Engine, command: Command, dry_run: bool) -> Any:
        """The command's answers; with `dry_run` what they would be now."""
        if not dry_run:
            return await engine.execute(command)
        now_ms = engine.now_ms()
        return await engine.read(lambda state: decide(state, command, now_ms, self._limits)[1])


def _chosen(job_id: str, job: Job | None) -> Chosen:
    return Chosen(job_id) if job is None else Chosen(job_id, job.status, job.claims)


def _fill_cancelled(response: queue_pb2.CancelJobResponse, status: Status) -> None:
    response.status = status.wire
    response.cancel_requested = status is Status.IN_PROGRESS


def _live_refusal(chosen: Chosen) -> OsqueueError:
    assert chosen.status is not None
    return InvalidRequest.field(
        "job_id", f"job {chosen.job_id} is {chosen.status.wire}; only a finished job can be purged: cancel it first"
    )
