"""Which methods are served by what, and what to use instead of those that are not served yet."""

from osqueue_service.clock import Clock
from osqueue_service.ids import IdSource
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import TypeNames
from osqueue_service.rpc.handlers import Handlers
from osqueue_service.rpc.inspecting import Inspecting
from osqueue_service.rpc.producing import Producing
from osqueue_service.rpc.reading import Reading
from osqueue_service.rpc.steering import Steering
from osqueue_service.rpc.working import Working
from osqueue_stubs.osqueue.v1 import admin_pb2, queue_pb2

QUEUE = queue_pb2.DESCRIPTOR.services_by_name["QueueService"]
ADMIN = admin_pb2.DESCRIPTOR.services_by_name["AdminService"]

UNSERVED = {
    "Work": "use ClaimJobs with wait_ms, CompleteJobs and HeartbeatJobs",
    "WatchJobs": "use WaitJob for one job, GetStats for the whole",
    "ExplainJob": "use GetJob",
    "GetStorageStats": "use the /metrics page",
    "GetHistory": "sample GetStats",
    "ListWorkers": "ListJobs shows the worker of every running job",
    "GroupDead": 'GetStats counts dead letters, ListJobs with statuses "dead" shows them',
}
"""As the comments of the proto files say."""


def add_services(handlers: Handlers, broker: Broker, clock: Clock, ids: IdSource) -> None:
    """Serve the broker."""
    types = TypeNames(broker.limits.type_chars)
    steering = Steering(broker, types)
    queue = (Producing(broker, types), Working(broker, types, clock, ids), Reading(broker, types), steering)
    handlers.add(QUEUE, queue, UNSERVED)
    handlers.add(ADMIN, (Inspecting(broker), steering), UNSERVED)
