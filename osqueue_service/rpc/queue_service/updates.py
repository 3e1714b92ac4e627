"""UpdateJobs, RunJobs."""

from typing import Any

from osqueue_service.limits import Limits
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import (
    TypeNames,
    Violations,
    check_bytes,
    check_number,
    read_labels,
)
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import commit_position
from osqueue_service.rpc.selections import Selector
from osqueue_service.rpc.status import item_error
from osqueue_service.state.commands import Update
from osqueue_service.state.model import Status
from osqueue_service.state.records import JobChange
from osqueue_stubs.osqueue.v1 import queue_pb2

WAITING = (Status.SCHEDULED, Status.UNCLAIMED, Status.BLOCKED)
"""What can be changed."""
PUT_OFF = (Status.SCHEDULED, Status.BLOCKED)
"""What can be told to run: what waits for its time, or will have to."""

AT_ONCE = JobChange(run_at=0)


class Updates:
    """Serves UpdateJobs and RunJobs."""

    def __init__(self, broker: Broker, types: TypeNames) -> None:
        self._broker = broker
        self._selector = Selector(broker, types)

    async def UpdateJobs(self, request: queue_pb2.UpdateJobsRequest, context: Context) -> queue_pb2.UpdateJobsResponse:
        change = read_change(request, self._broker.engine.now_ms(), self._broker.limits)
        response = queue_pb2.UpdateJobsResponse()
        await self._change(request, response, "UpdateJobs", WAITING, change, context)
        return response

    async def RunJobs(self, request: queue_pb2.RunJobsRequest, context: Context) -> queue_pb2.RunJobsResponse:
        response = queue_pb2.RunJobsResponse()
        await self._change(request, response, "RunJobs", PUT_OFF, AT_ONCE, context)
        return response

    async def _change(
        self,
        request: queue_pb2.UpdateJobsRequest | queue_pb2.RunJobsRequest,
        response: queue_pb2.UpdateJobsResponse | queue_pb2.RunJobsResponse,
        rpc: str,
        allowed: tuple[Status, ...],
        change: JobChange,
        context: Context,
    ) -> None:
        engine = self._broker.engine
        selection = await self._selector.select(engine, request, rpc, allowed)
        answers = await self._selector.change(engine, Update(selection.job_ids, change), request.dry_run, context)
        response.next_page_token = selection.next_page_token
        changed = False
        for job_id, answer in zip(selection.job_ids, answers, strict=True):
            result = response.results.add(job_id=job_id)
            if isinstance(answer, Status):
                result.updated.status = answer.wire
                changed = True
            else:
                result.error.CopyFrom(item_error(answer))
        if changed and not request.dry_run:
            response.commit.CopyFrom(commit_position(engine))


def read_change(request: queue_pb2.UpdateJobsRequest, now_ms: int, limits: Limits) -> JobChange:
    """What the jobs are to be. `now_ms` is queue time."""
    wrong = Violations()
    said: dict[str, Any] = {}
    if request.HasField("priority"):
        check_number(request.priority, "priority", -limits.priority_max, limits.priority_max, wrong)
        said["priority"] = request.priority
    if request.HasField("delay_ms"):
        if request.HasField("run_at"):
            wrong.add("run_at", "is set together with delay_ms; set one of them")
        check_number(request.delay_ms, "delay_ms", 0, limits.delay_ms_max, wrong, " ms")
        said["run_at"] = now_ms + request.delay_ms if request.delay_ms else 0
    elif request.HasField("run_at"):
        check_number(request.run_at, "run_at", 0, now_ms + limits.delay_ms_max, wrong, " ms since 1970-01-01 UTC")
        said["run_at"] = request.run_at
    if request.HasField("payload"):
        if len(request.job_ids) != 1:
            wrong.add("payload", "is the work of one job: name that, and no other, in job_ids")
        if not request.payload:
            wrong.add("payload", "is empty")
        check_bytes(len(request.payload), "payload", limits.payload_bytes, "payload_bytes", wrong)
        said["payload"] = request.payload
    if request.HasField("labels"):
        labels = read_labels(request.labels.metadata, "labels.metadata", limits.metadata_bytes, wrong)
        said["metadata"] = labels or {}
    if not said and not wrong:
        wrong.add("priority", "must be set, or run_at, delay_ms, payload or labels: nothing is to be changed")
    wrong.check()
    return JobChange(**said)
