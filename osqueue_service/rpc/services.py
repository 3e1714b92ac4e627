"""Which methods are served by what."""

from google.protobuf.descriptor import ServiceDescriptor

from osqueue_service.clock import Clock
from osqueue_service.ids import IdSource
from osqueue_service.rpc.access.registry import Registry
from osqueue_service.rpc.access_service.audit import Audits
from osqueue_service.rpc.access_service.tokens import Tokens
from osqueue_service.rpc.admin_service.dead_groups import DeadGroups
from osqueue_service.rpc.admin_service.history import History
from osqueue_service.rpc.admin_service.pauses import Pauses
from osqueue_service.rpc.admin_service.purges import Purges
from osqueue_service.rpc.admin_service.queues import Queues
from osqueue_service.rpc.admin_service.state import QueueState
from osqueue_service.rpc.admin_service.step_down import StepDown
from osqueue_service.rpc.admin_service.storage_stats import StorageStats
from osqueue_service.rpc.admin_service.workers import Workers
from osqueue_service.rpc.batch_service.cancellations import BatchCancellations
from osqueue_service.rpc.batch_service.openings import BatchOpenings
from osqueue_service.rpc.batch_service.reading import BatchReading
from osqueue_service.rpc.broker import Broker, Peer
from osqueue_service.rpc.fields import TypeNames
from osqueue_service.rpc.flow_service.fairness import FairnessKeys
from osqueue_service.rpc.flow_service.limit_keys import LimitKeys
from osqueue_service.rpc.flow_service.limits import NamedLimits
from osqueue_service.rpc.handlers import Handlers
from osqueue_service.rpc.queue_service.cancellations import Cancellations
from osqueue_service.rpc.queue_service.claims import Claims
from osqueue_service.rpc.queue_service.completions import Completions
from osqueue_service.rpc.queue_service.explanations import Explanations
from osqueue_service.rpc.queue_service.failures import Failures
from osqueue_service.rpc.queue_service.heartbeats import Heartbeats
from osqueue_service.rpc.queue_service.info import Info
from osqueue_service.rpc.queue_service.jobs import Jobs
from osqueue_service.rpc.queue_service.releases import Releases
from osqueue_service.rpc.queue_service.retries import Retries
from osqueue_service.rpc.queue_service.stats import Stats
from osqueue_service.rpc.queue_service.submissions import Submissions
from osqueue_service.rpc.queue_service.updates import Updates
from osqueue_service.rpc.queue_service.watches import Watches
from osqueue_service.rpc.queue_service.work import Work
from osqueue_service.rpc.routes import Routes
from osqueue_service.rpc.schedule_service.control import ScheduleControl
from osqueue_service.rpc.schedule_service.schedules import Schedules
from osqueue_service.rpc.standby_service.attendance import Attendance
from osqueue_service.rpc.workflow_service.cancellations import WorkflowCancellations
from osqueue_service.rpc.workflow_service.reading import WorkflowReading
from osqueue_service.rpc.workflow_service.submissions import WorkflowSubmissions
from osqueue_service.storage.factory import OpenedStore
from osqueue_stubs.osqueue.v1 import (
    access_pb2,
    admin_pb2,
    batches_pb2,
    flow_pb2,
    queue_pb2,
    schedules_pb2,
    standby_pb2,
    workflows_pb2,
)

QUEUE = queue_pb2.DESCRIPTOR.services_by_name["QueueService"]
ADMIN = admin_pb2.DESCRIPTOR.services_by_name["AdminService"]
ACCESS = access_pb2.DESCRIPTOR.services_by_name["AccessService"]
FLOW = flow_pb2.DESCRIPTOR.services_by_name["FlowService"]
SCHEDULES = schedules_pb2.DESCRIPTOR.services_by_name["ScheduleService"]
WORKFLOWS = workflows_pb2.DESCRIPTOR.services_by_name["WorkflowService"]
BATCHES = batches_pb2.DESCRIPTOR.services_by_name["BatchService"]
STANDBY = standby_pb2.DESCRIPTOR.services_by_name["StandbyService"]


def add_services(
    handlers: Handlers,
    broker: Peer,
    storage: OpenedStore,
    registry: Registry,
    clock: Clock,
    ids: IdSource,
    *,
    asks: bool,
) -> None:
    """Serve the broker's queues, the figures of its store, and the tokens of those who call. `asks`: they must show
    one."""

    def of_queue(queue: Broker) -> list[object]:
        return [each for servicers in _of_queue(queue, storage, clock, ids).values() for each in servicers]

    routes = Routes(broker.queues, of_queue)
    by_queue = _of_queue(broker, storage, clock, ids)
    once: dict[ServiceDescriptor, tuple[object, ...]] = {
        QUEUE: (Info(broker),),
        ADMIN: (Queues(broker), StepDown(broker)),
        ACCESS: (Tokens(broker, registry, clock, asks=asks),),
    }
    for service, servicers in by_queue.items():
        handlers.add(service, (*servicers, *once.get(service, ())), strict=True, routes=routes)
    # Brokers of two releases attend each other: what one does not know yet, it passes over.
    handlers.add(STANDBY, (Attendance(broker, clock),))


def _of_queue(
    queue: Broker, storage: OpenedStore, clock: Clock, ids: IdSource
) -> dict[ServiceDescriptor, tuple[object, ...]]:
    """What serves one queue, the default queue or one with a name."""
    types = TypeNames(queue.limits.type_chars)
    return {
        QUEUE: (
            Submissions(queue, types),
            Claims(queue, types, clock),
            Heartbeats(queue),
            Completions(queue),
            Failures(queue, ids),
            Releases(queue),
            Work(queue, types, ids),
            Jobs(queue, types),
            Watches(queue, types, clock),
            Cancellations(queue, types),
            Retries(queue, types),
            Updates(queue, types),
            Explanations(queue),
            Stats(queue),
        ),
        ADMIN: (
            QueueState(queue),
            StorageStats(queue, storage, clock),
            History(queue),
            Pauses(queue, types),
            Workers(queue),
            DeadGroups(queue, types),
            Purges(queue, types),
        ),
        ACCESS: (Audits(queue),),
        FLOW: (NamedLimits(queue, types), LimitKeys(queue), FairnessKeys(queue)),
        SCHEDULES: (Schedules(queue, types, clock), ScheduleControl(queue)),
        WORKFLOWS: (WorkflowSubmissions(queue, types), WorkflowReading(queue), WorkflowCancellations(queue)),
        BATCHES: (BatchOpenings(queue, types), BatchReading(queue), BatchCancellations(queue)),
    }
