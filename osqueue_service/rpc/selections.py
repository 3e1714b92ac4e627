"""The jobs that one call of an operator is about: those it names, or the next that match its filter."""

from typing import Any

from msgspec import Struct

from osqueue_service.engine.engine import Engine
from osqueue_service.rpc.access.signing import execute_signed
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import TypeNames, Violations, check_count, check_name
from osqueue_service.rpc.filters import read_filter
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.page_tokens import Walk
from osqueue_service.rpc.refusals import telling, told
from osqueue_service.state.commands import Command
from osqueue_service.state.machine import decide
from osqueue_service.state.model import Job, Status
from osqueue_service.state.queries.pages import page
from osqueue_service.state.state import State
from osqueue_stubs.osqueue.v1 import admin_pb2, queue_pb2

Selecting = (
    queue_pb2.CancelJobsRequest
    | queue_pb2.RetryJobsRequest
    | queue_pb2.UpdateJobsRequest
    | queue_pb2.RunJobsRequest
    | admin_pb2.PurgeRequest
)


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


class Selector:
    """Finds the jobs of a call, and changes them or says what would come of it."""

    def __init__(self, broker: Broker, types: TypeNames) -> None:
        self._limits = broker.limits
        self._types = types

    async def select(self, engine: Engine, request: Selecting, rpc: str, allowed: tuple[Status, ...]) -> Selection:
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
            return await engine.views.read(
                lambda state: Selection([_chosen(job_id, state.find(job_id)) for job_id in ids])
            )
        walk = Walk(rpc, request.filter)

        def view(state: State) -> Selection:
            after = walk.start(state, request.page_token)
            found = page(state, wanted, after, limits.batch_items, limits, lambda job: 0)
            token = walk.token(state, found.next_after) if found.next_after is not None else ""
            return Selection([_chosen(state.job_id(job), job) for job in found.jobs], token)

        return told(await engine.views.read(telling(view)))

    async def change(self, engine: Engine, command: Command, dry_run: bool, context: Context) -> Any:
        """The command's answers; with `dry_run` what they would be now."""
        if not dry_run:
            return await execute_signed(engine, command, context)
        now_ms = engine.now_ms()
        return await engine.views.read(lambda state: decide(state, command, now_ms, self._limits)[1])


def _chosen(job_id: str, job: Job | None) -> Chosen:
    return Chosen(job_id) if job is None else Chosen(job_id, job.status, job.claims)
