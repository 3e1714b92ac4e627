"""Which methods are served by what."""

from osqueue_service.clock import Clock
from osqueue_service.ids import IdSource
from osqueue_service.rpc.access.registry import Registry
from osqueue_service.rpc.access_service.audit import Audits
from osqueue_service.rpc.access_service.tokens import Tokens
from osqueue_service.rpc.admin_service.dead_groups import DeadGroups
from osqueue_service.rpc.admin_service.history import History
from osqueue_service.rpc.admin_service.pauses import Pauses
from osqueue_service.rpc.admin_service.purges import Purges
from osqueue_service.rpc.admin_service.state import QueueState
from osqueue_service.rpc.admin_service.step_down import StepDown
from osqueue_service.rpc.admin_service.storage_stats import StorageStats
from osqueue_service.rpc.admin_service.workers import Workers
from osqueue_service.rpc.broker import Broker
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
from osqueue_service.rpc.queue_service.watches import Watches
from osqueue_service.rpc.queue_service.work import Work
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
STANDBY = standby_pb2.DESCRIPTOR.services_by_name["StandbyService"]


def add_services(
    handlers: Handlers,
    broker: Broker,
    storage: OpenedStore,
    registry: Registry,
    clock: Clock,
    ids: IdSource,
    *,
    asks: bool,
) -> None:
    """Serve the broker, the figures of its store, and the tokens of those who call. `asks`: they must show one."""
    types = TypeNames(broker.limits.type_chars)
    handlers.add(
        QUEUE,
        (
            Submissions(broker, types),
            Claims(broker, types, clock),
            Heartbeats(broker),
            Completions(broker),
            Failures(broker, ids),
            Releases(broker),
            Work(broker, types, ids),
            Jobs(broker, types),
            Watches(broker, types, clock),
            Cancellations(broker, types),
            Retries(broker, types),
            Explanations(broker),
            Stats(broker),
            Info(broker),
        ),
        strict=True,
    )
    handlers.add(
        ADMIN,
        (
            QueueState(broker),
            StorageStats(broker, storage, clock),
            History(broker),
            Pauses(broker, types),
            Workers(broker),
            DeadGroups(broker, types),
            Purges(broker, types),
            StepDown(broker),
        ),
        strict=True,
    )
    handlers.add(ACCESS, (Tokens(broker, registry, clock, asks=asks), Audits(broker)), strict=True)
    handlers.add(FLOW, (NamedLimits(broker, types), LimitKeys(broker), FairnessKeys(broker)), strict=True)
    handlers.add(SCHEDULES, (Schedules(broker, types, clock), ScheduleControl(broker)), strict=True)
    handlers.add(
        WORKFLOWS,
        (WorkflowSubmissions(broker, types), WorkflowReading(broker), WorkflowCancellations(broker)),
        strict=True,
    )
    # Brokers of two releases attend each other: what one does not know yet, it passes over.
    handlers.add(STANDBY, (Attendance(broker, clock),))
