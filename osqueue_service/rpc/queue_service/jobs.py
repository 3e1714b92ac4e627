"""GetJob, WaitJob, ListJobs."""

from osqueue_service.engine.engine import Engine
from osqueue_service.engine.totals import Totals, totals_of
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.deadlines import allowed_wait
from osqueue_service.rpc.fields import TypeNames, Violations, check_name, check_number
from osqueue_service.rpc.filters import read_filter
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.job_info import View, info_bytes, job_info
from osqueue_service.rpc.page_tokens import Walk
from osqueue_service.rpc.positions import view_position
from osqueue_service.rpc.queue_service.stats import job_counts, saturated
from osqueue_service.rpc.refusals import telling, told
from osqueue_service.state.model import LIVE, Job, Status
from osqueue_service.state.queries.filters import Filter
from osqueue_service.state.queries.pages import Order, page
from osqueue_service.state.state import State
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2

_LIVE_FILTER = Filter(LIVE)


class Jobs:
    """Serves GetJob, WaitJob and ListJobs."""

    def __init__(self, broker: Broker, types: TypeNames) -> None:
        self._broker = broker
        self._limits = broker.limits
        self._types = types

    async def GetJob(self, request: queue_pb2.GetJobRequest, context: Context) -> queue_pb2.GetJobResponse:
        engine = self._broker.engine
        self._check_job_id(request.job_id)

        def view(state: State) -> queue_pb2.GetJobResponse:
            return queue_pb2.GetJobResponse(
                job=_full(engine, state, state.get(request.job_id)), position=view_position(engine)
            )

        return told(await engine.views.read(telling(view), linearizable=request.linearizable))

    async def WaitJob(self, request: queue_pb2.WaitJobRequest, context: Context) -> queue_pb2.WaitJobResponse:
        engine = self._broker.engine
        self._check_job_id(request.job_id)
        if request.wait_ms < 0:
            wrong = Violations()
            wrong.add("wait_ms", f"is {request.wait_ms}; it must be 0 (do not wait) or more")
            wrong.check()
        wait_ms = allowed_wait(context, request.wait_ms, engine).wait_ms

        def view(state: State, job: Job | None) -> queue_pb2.WaitJobResponse:
            if job is None:
                job = state.get(request.job_id)  # which says what its absence means
            return queue_pb2.WaitJobResponse(
                job=_full(engine, state, job), finished=job.status.finished, position=view_position(engine)
            )

        return told(await engine.views.wait_finished(request.job_id, wait_ms, telling(view)))

    async def ListJobs(self, request: queue_pb2.ListJobsRequest, context: Context) -> queue_pb2.ListJobsResponse:
        engine = self._broker.engine
        limits = self._limits
        wrong = Violations()
        wanted = _LIVE_FILTER
        if request.HasField("filter"):
            wanted = read_filter(request.filter, limits, self._types, wrong)
        if request.page_size:
            check_number(request.page_size, "page_size", 1, limits.page_items, wrong)
        if request.view not in job_pb2.JobView.values():
            wrong.add("view", f"is {request.view}; it must be a JobView")
        order = _order(request, wanted, wrong)
        wrong.check()
        shown: View = request.view
        rpc = "ListJobs" if order is Order.OLDEST else f"ListJobs {order.name}"
        walk = Walk(rpc, request.filter if request.HasField("filter") else None, shown)
        items_max = request.page_size or limits.page_items

        def view(state: State) -> queue_pb2.ListJobsResponse:
            after = walk.start(state, request.page_token)
            found = page(state, wanted, after, items_max, limits, lambda job: info_bytes(job, shown), order)
            response = self._listing(totals_of(state))
            response.jobs.extend([job_info(engine, state, job, shown) for job in found.jobs])
            response.position.CopyFrom(view_position(engine))
            if found.next_after is not None:
                response.truncated = True
                response.next_page_token = walk.token(state, found.next_after)
            return response

        return told(await engine.views.read(telling(view), linearizable=request.linearizable))

    def _listing(self, totals: Totals) -> queue_pb2.ListJobsResponse:
        return queue_pb2.ListJobsResponse(
            total=saturated(totals.live),
            unclaimed=saturated(totals.unclaimed),
            in_progress=saturated(totals.in_progress),
            completed_total=saturated(totals.counters.completed),
            broker_address=self._broker.addresses.broker,
            counts=job_counts(totals),
        )

    def _check_job_id(self, job_id: str) -> None:
        wrong = Violations()
        check_name(job_id, "job_id", self._limits.id_chars, wrong, required=True)
        wrong.check()


def _order(request: queue_pb2.ListJobsRequest, wanted: Filter, wrong: Violations) -> Order:
    try:
        order = Order(request.order)
    except ValueError:
        wrong.add("order", f"is {request.order}; it must be a JobOrder")
        return Order.OLDEST
    if order is Order.SOONEST and wanted.statuses != (Status.SCHEDULED,):
        wrong.add("order", "is SOONEST, which is of scheduled jobs alone: set filter.statuses to scheduled")
    return order


def _full(engine: Engine, state: State, job: Job) -> job_pb2.JobInfo:
    return job_info(engine, state, job, job_pb2.JOB_VIEW_FULL)
