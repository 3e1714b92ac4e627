"""GetHistory."""

from collections.abc import Iterator

from osqueue_service.engine.figures import SECONDS_KEPT, Histogram, Second
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import Violations, check_number
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import check_live, durable_position
from osqueue_stubs.osqueue.v1 import admin_pb2

STEP_MS = 1_000
STEP_MS_MAX = SECONDS_KEPT * STEP_MS


class History:
    """Serves GetHistory."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

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
        points = [_point(at, seconds) for at, seconds in _steps(engine.views.figures.history(request.since), step_ms)]
        return admin_pb2.GetHistoryResponse(points=points[-most:], step_ms=step_ms, position=durable_position(engine))


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
        blocked=last.blocked,
        commits=sum(second.commits for second in seconds),
        commit_latency=_latency(commit),
        wait_latency=_latency(wait),
        run_latency=_latency(run),
        storage_requests=sum(second.storage_requests for second in seconds),
    )


def _latency(histogram: Histogram) -> admin_pb2.Latency:
    return admin_pb2.Latency(p50_ms=histogram.percentile_ms(0.5), p99_ms=histogram.percentile_ms(0.99))
