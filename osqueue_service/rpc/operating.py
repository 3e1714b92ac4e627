"""What operators look at: storage, the recent past, workers, dead letters by error."""

from collections.abc import Iterator
from heapq import nlargest, nsmallest
from itertools import islice

from osqueue_service.engine.engine import Engine
from osqueue_service.engine.figures import SECONDS_KEPT, Second
from osqueue_service.engine.histogram import Histogram
from osqueue_service.engine.workers import Worker
from osqueue_service.rpc.attempts import AttemptReader
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import TypeNames, check_name, check_number
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.stats import check_live, durable_position, view_position
from osqueue_service.rpc.violations import Violations
from osqueue_service.state.index import Index
from osqueue_service.state.state import State
from osqueue_stubs.osqueue.v1 import admin_pb2

STEP_MS = 1_000
STEP_MS_MAX = SECONDS_KEPT * STEP_MS
GROUPS_DEFAULT = 100
WORKER_JOBS_SHOWN = 100
SAMPLES = 10
LOOKED_AT_MAX = 1_000
"""Dead letters of one group that are looked at for the times of the first and the last."""


class Operating:
    """GetHistory, ListWorkers and GroupDead."""

    def __init__(self, broker: Broker, types: TypeNames) -> None:
        self._broker = broker
        self._limits = broker.limits
        self._reader = AttemptReader(broker.limits, types)

    async def GetHistory(self, request: admin_pb2.GetHistoryRequest, context: Context) -> admin_pb2.GetHistoryResponse:
        engine = self._broker.engine
        wrong = Violations()
        if request.since < 0:
            wrong.add("since", f"is {request.since}; it must be 0 (all there is) or a time in milliseconds")
        step_ms = request.step_ms or STEP_MS
        check_number(step_ms, "step_ms", STEP_MS, STEP_MS_MAX, wrong, " ms")
        most = request.max_points or SECONDS_KEPT
        check_number(most, "max_points", 1, SECONDS_KEPT, wrong)
        wrong.check()
        check_live(engine)
        points = [_point(at, seconds) for at, seconds in _steps(engine.figures.history(request.since), step_ms)]
        return admin_pb2.GetHistoryResponse(points=points[-most:], step_ms=step_ms, position=durable_position(engine))

    async def ListWorkers(
        self, request: admin_pb2.ListWorkersRequest, context: Context
    ) -> admin_pb2.ListWorkersResponse:
        engine = self._broker.engine
        limits, wrong = self._limits, Violations()
        size = request.page_size or limits.page_items
        check_number(size, "page_size", 1, limits.page_items, wrong)
        check_name(request.page_token, "page_token", limits.id_chars, wrong)
        wrong.check()
        check_live(engine)
        # The token is the last id of the page before, so a page is right whoever came or went meanwhile.
        later = (worker for worker in engine.workers if worker.id > request.page_token)
        page = nsmallest(size + 1, later, key=lambda worker: worker.id)
        shown = page[:size]
        return admin_pb2.ListWorkersResponse(
            workers=[_worker(worker, engine.leases_of(worker.id)) for worker in shown],
            next_page_token=shown[-1].id if len(page) > size else "",
            position=durable_position(engine),
        )

    async def GroupDead(self, request: admin_pb2.GroupDeadRequest, context: Context) -> admin_pb2.GroupDeadResponse:
        engine = self._broker.engine
        limits, wrong = self._limits, Violations()
        types = frozenset(self._reader.types(request.types, "types", limits.claim_types, wrong))
        most = request.max_groups or GROUPS_DEFAULT
        check_number(most, "max_groups", 1, limits.page_items, wrong)
        wrong.check()
        return await engine.read(lambda state: _grouped(engine, state, types, most))


def _steps(seconds: Iterator[Second], step_ms: int) -> Iterator[tuple[int, list[Second]]]:
    """The seconds of each step, in order; steps without a second are left out."""
    start, step = 0, list[Second]()
    for second in seconds:
        at = second.at - second.at % step_ms
        if step and at != start:
            yield start, step
            step = []
        start = at
        step.append(second)
    if step:
        yield start, step


def _point(at: int, seconds: list[Second]) -> admin_pb2.HistoryPoint:
    wait, run, commit = Histogram(), Histogram(), Histogram()
    for second in seconds:
        wait.merge(second.wait)
        run.merge(second.run)
        commit.merge(second.commit)
    last = seconds[-1]
    return admin_pb2.HistoryPoint(
        at=at,
        submitted=sum(second.submitted for second in seconds),
        claimed=sum(second.claimed for second in seconds),
        completed=sum(second.completed for second in seconds),
        failed=sum(second.failed for second in seconds),
        dead=sum(second.dead for second in seconds),
        unclaimed=last.unclaimed,
        scheduled=last.scheduled,
        in_progress=last.in_progress,
        commits=sum(second.commits for second in seconds),
        commit_latency=_latency(commit),
        wait_latency=_latency(wait),
        run_latency=_latency(run),
        storage_requests=sum(second.storage_requests for second in seconds),
    )


def _latency(histogram: Histogram) -> admin_pb2.Latency:
    return admin_pb2.Latency(p50_ms=histogram.percentile_ms(0.5), p99_ms=histogram.percentile_ms(0.99))


def _worker(worker: Worker, job_ids: list[str]) -> admin_pb2.WorkerInfo:
    return admin_pb2.WorkerInfo(
        worker_id=worker.id,
        types=worker.types,
        slots=worker.slots,
        leases=worker.leases,
        job_ids=job_ids[:WORKER_JOBS_SHOWN],
        first_seen_at=worker.first_seen,
        last_seen_at=worker.last_seen,
        version=worker.version,
        streaming=worker.streams > 0,
        draining=worker.draining,
        completed=worker.completed,
        failed=worker.failed,
    )


def _grouped(engine: Engine, state: State, types: frozenset[str], most: int) -> admin_pb2.GroupDeadResponse:
    groups = [(key, group) for key, group in state.dead_groups.items() if not types or key[0] in types]
    largest = nlargest(most, groups, key=lambda item: item[1].count)
    return admin_pb2.GroupDeadResponse(
        groups=[_group(state, *key, group) for key, group in largest],
        others=sum(group.count for _, group in groups) - sum(group.count for _, group in largest),
        position=view_position(engine),
    )


def _group(state: State, type_name: str, error_type: str, group: Index) -> admin_pb2.DeadGroup:
    newest = list(islice(group.backwards(), LOOKED_AT_MAX))
    last = max(newest, key=lambda job: job.finished_at)
    return admin_pb2.DeadGroup(
        type=type_name,
        error_type=error_type,
        count=group.count,
        oldest_at=min(job.finished_at for job in islice(group, LOOKED_AT_MAX)),
        newest_at=last.finished_at,
        sample_message=last.history[-1].error_message,
        sample_job_ids=[state.job_id(job) for job in newest[:SAMPLES]],
    )
