"""Heartbeat, HeartbeatJobs."""

from osqueue_service.errors import OsqueueError
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import Violations
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import check_live, view_position
from osqueue_service.rpc.queue_service.attempts import AttemptReader
from osqueue_service.rpc.status import item_error
from osqueue_stubs.osqueue.v1 import queue_pb2


class Heartbeats:
    """Serves Heartbeat and HeartbeatJobs."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._reader = AttemptReader(broker.limits)

    async def Heartbeat(self, request: queue_pb2.HeartbeatRequest, context: Context) -> queue_pb2.HeartbeatResponse:
        engine = self._broker.engine
        wrong = Violations()
        renewal = self._reader.renewal(request, wrong)
        wrong.check()
        lease, cancel_requested = await engine.heartbeats.beat(
            renewal.job_id, renewal.worker_id, renewal.token, renewal.progress, renewal.running_ms
        )
        return queue_pb2.HeartbeatResponse(
            lease_expires_at=lease.expires_at,
            cancel_requested=cancel_requested,
            position=view_position(engine),
        )

    async def HeartbeatJobs(
        self, request: queue_pb2.HeartbeatJobsRequest, context: Context
    ) -> queue_pb2.HeartbeatJobsResponse:
        engine = self._broker.engine
        self._reader.batch(len(request.heartbeats), "heartbeats")
        check_live(engine)
        response = queue_pb2.HeartbeatJobsResponse(position=view_position(engine))
        add, read = response.results.add, self._reader.renewal
        wrong = Violations()
        refused = False
        for heartbeat in request.heartbeats:
            try:
                renewal = read(heartbeat, wrong)
                wrong.check()
                lease, cancel_requested = engine.heartbeats.renew(
                    renewal.job_id, renewal.worker_id, renewal.token, renewal.progress, renewal.running_ms
                )
            except OsqueueError as error:
                refused = True
                add().error.CopyFrom(item_error(error))
            else:
                renewed = add().renewed
                renewed.lease_expires_at = lease.expires_at
                if cancel_requested:
                    renewed.cancel_requested = True
        if refused:
            # A refusal may rest on a change that is still under way.
            await engine.settled()
        return response
