"""Which methods are served by what, and what to use instead of those that are not served yet."""

from osqueue_service.clock import Clock
from osqueue_service.ids import IdSource
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.explaining import Explaining
from osqueue_service.rpc.fields import TypeNames
from osqueue_service.rpc.handlers import Handlers
from osqueue_service.rpc.inspecting import Inspecting
from osqueue_service.rpc.operating import Operating
from osqueue_service.rpc.producing import Producing
from osqueue_service.rpc.reading import Reading
from osqueue_service.rpc.steering import Steering
from osqueue_service.rpc.watching import Watching
from osqueue_service.rpc.work import Dispatching
from osqueue_service.rpc.working import Working
from osqueue_stubs.osqueue.v1 import admin_pb2, queue_pb2

QUEUE = queue_pb2.DESCRIPTOR.services_by_name["QueueService"]
ADMIN = admin_pb2.DESCRIPTOR.services_by_name["AdminService"]

UNSERVED = {
    "GetStorageStats": "use the /metrics page",
}
"""As the comments of the proto files say."""


def add_services(handlers: Handlers, broker: Broker, clock: Clock, ids: IdSource) -> None:
    """Serve the broker."""
    types = TypeNames(broker.limits.type_chars)
    steering = Steering(broker, types)
    queue = (
        Producing(broker, types),
        Working(broker, types, clock, ids),
        Dispatching(broker, types, ids),
        Reading(broker, types),
        Watching(broker, types, clock),
        Explaining(broker),
        steering,
    )
    handlers.add(QUEUE, queue, UNSERVED)
    handlers.add(ADMIN, (Inspecting(broker), Operating(broker, types), steering), UNSERVED)
