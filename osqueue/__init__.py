"""The osqueue SDK: typed clients for producers and workers.

import osqueue

async with osqueue.OsqueueClient("grpc://localhost:8081") as client:
    job = await client.submit_job("email", {"to": "ada@example.org"})
    print(await job.result())
"""

from osqueue.admin import Admin
from osqueue.admin_messages import QueueRoot, WorkerInfo
from osqueue.batch_messages import BatchInfo, OpenBatchRequest
from osqueue.batches import Batch
from osqueue.calls.steering import Changes
from osqueue.client import ClientState, OsqueueClient
from osqueue.codecs import Codec, Compression, Encryption
from osqueue.context import JobContext
from osqueue.current import JobLogFilter, current_job
from osqueue.errors import (
    AuthError,
    BrokerLeadershipError,
    BrokerProtocolError,
    CASConflictError,
    CodecError,
    ConfigError,
    DiscoveryError,
    EngineStateError,
    IdempotencyConflictError,
    JobNotFinishedError,
    JobNotFoundError,
    LeaseLostError,
    OsqueueError,
    QueueFullError,
    QueueNotFoundError,
    RevisionConflictError,
    ScheduleNotFoundError,
    StorageBackendError,
    TransportConfigError,
    TransportConnectionError,
    TransportRequestError,
    UniqueConflictError,
    Violation,
    WorkerExecutionError,
    is_osqueue_error,
)
from osqueue.failures import Failed, RateLimited, Reject, Retry
from osqueue.fairness import Fairness
from osqueue.flow_messages import LimitInfo, LimitKeyInfo, Rate
from osqueue.flows import Node, WorkflowBuilder, WorkflowHandle
from osqueue.handle import JobHandle
from osqueue.handlers import Handler
from osqueue.job import (
    Attempt,
    ClaimedJob,
    FilterOptions,
    Job,
    JobError,
    JobFilter,
    JobInput,
    JobSpec,
    JobStatus,
    Lease,
    Limit,
    Origin,
    Position,
    Progress,
    RetryPolicy,
    SubmitOptions,
    Unique,
)
from osqueue.limits import Limits
from osqueue.messages import Completed, FollowUp, JobEvent, Resync, Settled
from osqueue.middleware import Proceed
from osqueue.queue_messages import QueueInfo
from osqueue.registry import JobType, Registry
from osqueue.schedule_messages import Firing, Schedule, ScheduledTime, ScheduleInfo
from osqueue.schedules import ScheduleOptions, Schedules
from osqueue.stats import FairnessKeyInfo, Stats
from osqueue.submission import new_job
from osqueue.submit_middleware import ProceedSubmit
from osqueue.sync import (
    SyncAdmin,
    SyncBatch,
    SyncClient,
    SyncFairness,
    SyncJobHandle,
    SyncLimits,
    SyncSchedules,
    SyncTokens,
)
from osqueue.tasks import Task
from osqueue.tokens import Tokens
from osqueue.worker import Worker, WorkerState
from osqueue.workflow_messages import NodeInfo, NodeNeed, Workflow, WorkflowInfo, WorkflowNode

__all__ = [
    "Admin",
    "Attempt",
    "AuthError",
    "Batch",
    "BatchInfo",
    "BrokerLeadershipError",
    "BrokerProtocolError",
    "CASConflictError",
    "Changes",
    "ClaimedJob",
    "ClientState",
    "Codec",
    "CodecError",
    "Completed",
    "Compression",
    "ConfigError",
    "DiscoveryError",
    "Encryption",
    "EngineStateError",
    "Failed",
    "Fairness",
    "FairnessKeyInfo",
    "FilterOptions",
    "Firing",
    "FollowUp",
    "Handler",
    "IdempotencyConflictError",
    "Job",
    "JobContext",
    "JobError",
    "JobEvent",
    "JobFilter",
    "JobHandle",
    "JobInput",
    "JobLogFilter",
    "JobNotFinishedError",
    "JobNotFoundError",
    "JobSpec",
    "JobStatus",
    "JobType",
    "Lease",
    "LeaseLostError",
    "Limit",
    "LimitInfo",
    "LimitKeyInfo",
    "Limits",
    "Node",
    "NodeInfo",
    "NodeNeed",
    "OpenBatchRequest",
    "Origin",
    "OsqueueClient",
    "OsqueueError",
    "Position",
    "Proceed",
    "ProceedSubmit",
    "Progress",
    "QueueFullError",
    "QueueInfo",
    "QueueNotFoundError",
    "QueueRoot",
    "Rate",
    "RateLimited",
    "Registry",
    "Reject",
    "Resync",
    "Retry",
    "RetryPolicy",
    "RevisionConflictError",
    "Schedule",
    "ScheduleInfo",
    "ScheduleNotFoundError",
    "ScheduleOptions",
    "ScheduledTime",
    "Schedules",
    "Settled",
    "Stats",
    "StorageBackendError",
    "SubmitOptions",
    "SyncAdmin",
    "SyncBatch",
    "SyncClient",
    "SyncFairness",
    "SyncJobHandle",
    "SyncLimits",
    "SyncSchedules",
    "SyncTokens",
    "Task",
    "Tokens",
    "TransportConfigError",
    "TransportConnectionError",
    "TransportRequestError",
    "Unique",
    "UniqueConflictError",
    "Violation",
    "Worker",
    "WorkerExecutionError",
    "WorkerInfo",
    "WorkerState",
    "Workflow",
    "WorkflowBuilder",
    "WorkflowHandle",
    "WorkflowInfo",
    "WorkflowNode",
    "current_job",
    "is_osqueue_error",
    "new_job",
]
