"""Which methods are served by what."""

from osqueue_service.clock import Clock
from osqueue_service.ids import IdSource
from osqueue_service.rpc.attending import Attending
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.explaining import Explaining
from osqueue_service.rpc.fields import TypeNames
from osqueue_service.rpc.handlers import Handlers
from osqueue_service.rpc.inspecting import Inspecting
from osqueue_service.rpc.operating import Operating
from osqueue_service.rpc.producing import Producing
from osqueue_service.rpc.reading import Reading
from osqueue_service.rpc.steering import Steering
from osqueue_service.rpc.storing import Storing
from osqueue_service.rpc.watching import Watching
from osqueue_service.rpc.work import Dispatching
from osqueue_service.rpc.working import Working
from osqueue_service.storage.factory import OpenedStore
from osqueue_stubs.osqueue.v1 import admin_pb2, queue_pb2, standby_pb2

QUEUE = queue_pb2.DESCRIPTOR.services_by_name["QueueService"]
ADMIN = admin_pb2.DESCRIPTOR.services_by_name["AdminService"]
STANDBY = standby_pb2.DESCRIPTOR.services_by_name["StandbyService"]


def add_services(handlers: Handlers, broker: Broker, storage: OpenedStore, clock: Clock, ids: IdSource) -> None:
    """Serve the broker and the figures of its store."""
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
    admin = (Inspecting(broker), Operating(broker, types), Storing(broker, storage, clock), steering)
    handlers.add(QUEUE, queue)
    handlers.add(ADMIN, admin)
    handlers.add(STANDBY, (Attending(broker, clock),))
