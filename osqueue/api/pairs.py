"""Which type of the SDK carries which message of the API, and what is left out on purpose.

A type and a message of the same name belong together, and so do an attribute and a field; only what differs stands
here. A new field needs an attribute in `osqueue.job` or `osqueue.messages`, and a word here only if the SDK does not
want it: a test walks every field of every message and fails on one that is neither carried nor listed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from osqueue import (
    access_messages,
    admin_messages,
    batch_messages,
    flow_messages,
    job,
    job_inputs,
    limit_uses,
    messages,
    queue_messages,
    schedule_messages,
    stats,
    workflow_messages,
)
from osqueue.api import descriptors
from osqueue.job import ClaimedJob, Job, JobSpec, Lease, Position
from osqueue_stubs.osqueue.v1 import (
    access_pb2,
    admin_pb2,
    batches_pb2,
    flow_pb2,
    job_pb2,
    queue_pb2,
    schedules_pb2,
    workflows_pb2,
)

QUEUE_FIELD_NUMBER = 100
"""Of the field that says which queue a request is for, in every request that has it."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A type of the SDK and a message."""

    sdk: type[Any]
    message: type[Any]
    paths: Mapping[str, str] = field(default_factory=dict)
    """Attribute → the field that holds it, with dots for a field of a part: those whose names differ."""
    given: tuple[str, ...] = ()
    """Attributes, its own or those of its parts, that whoever reads an answer knows from the request."""
    own: frozenset[str] = frozenset()
    """Attributes that this message does not have; reading leaves them at their default."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Fields that the type does not carry, and why."""


_BATCH_COMMIT = {"commit": "a batch has its own"}
_CALL_NAME = {"request_id": "the batch names the call"}

_DIFFERENT = (
    Pair(Position, job_pb2.CommitPosition),
    Pair(Position, job_pb2.ReadPosition, left_out={"commit_lag_ms": "Stats has it"}),
    Pair(Job, job_pb2.JobInfo),
    Pair(ClaimedJob, job_pb2.ClaimedJob, given=("worker_id",)),
    Pair(stats.Counts, job_pb2.JobCounts),
    Pair(
        stats.Stats,
        queue_pb2.GetStatsResponse,
        paths={"commit_lag_ms": "position.commit_lag_ms"},
    ),
    # Submitting.
    Pair(JobSpec, queue_pb2.SubmitJobRequest, own=frozenset({"job_type"}), left_out=_CALL_NAME),
    Pair(
        JobSpec,
        job_pb2.JobTemplate,
        own=frozenset(
            {
                "job_type",
                "run_at",
                "delay_ms",
                "idempotency_key",
                "submit_on_dead",
                "limits",
                "unique",
                "batch_id",
                "sequence_key",
                "sequence_after_dead",
                "fairness_key",
            }
        ),
    ),
    Pair(messages.Submitted, queue_pb2.SubmitJobResponse, left_out=_BATCH_COMMIT),
    # Working.
    Pair(messages.ClaimRequest, queue_pb2.ClaimJobsRequest),
    Pair(messages.Claims, queue_pb2.ClaimJobsResponse, given=("worker_id",)),
    Pair(messages.Heartbeat, queue_pb2.HeartbeatRequest),
    Pair(messages.Renewal, queue_pb2.HeartbeatResponse, left_out={"position": "a batch has its own"}),
    Pair(messages.Completion, queue_pb2.CompleteJobRequest, left_out=_CALL_NAME),
    Pair(messages.Completed, queue_pb2.CompleteJobResponse, left_out=_BATCH_COMMIT),
    Pair(messages.Failure, queue_pb2.FailJobRequest),
    Pair(messages.Release, queue_pb2.ReleaseJobRequest),
    Pair(messages.Settled, queue_pb2.FailJobResponse),
    Pair(messages.Settled, queue_pb2.ReleaseJobResponse, own=frozenset({"run_at"})),
    Pair(Lease, queue_pb2.HeldLease, own=frozenset({"worker_id"})),
    # Reading.
    Pair(messages.JobAnswer, queue_pb2.GetJobResponse),
    Pair(messages.JobAnswer, queue_pb2.WaitJobResponse, left_out={"finished": "the job's status says it"}),
    Pair(messages.ListRequest, queue_pb2.ListJobsRequest),
    Pair(
        messages.JobPage,
        queue_pb2.ListJobsResponse,
        left_out={
            **dict.fromkeys(("total", "unclaimed", "in_progress", "completed_total", "counts"), "get_stats tells them"),
            "broker_address": "get_stats tells it",
            "truncated": "next_page_token is set",
        },
    ),
    Pair(messages.Explanation, queue_pb2.ExplainJobResponse),
    Pair(messages.WatchRequest, queue_pb2.WatchJobsRequest),
    Pair(messages.WatchFrame, queue_pb2.WatchJobsResponse),
    # Steering.
    Pair(messages.Selection, queue_pb2.CancelJobsRequest),
    Pair(messages.Selection, queue_pb2.RetryJobsRequest),
    Pair(messages.Selection, queue_pb2.RunJobsRequest),
    Pair(messages.Update, queue_pb2.UpdateJobsRequest),
    Pair(messages.NewLabels, queue_pb2.NewLabels),
    Pair(messages.Selection, admin_pb2.PurgeRequest),
    Pair(messages.Change, queue_pb2.CancelJobResponse, given=("job_id",), own=frozenset({"error"})),
    Pair(
        messages.Change,
        queue_pb2.CancelJobResult,
        paths={"status": "cancelled.status", "cancel_requested": "cancelled.cancel_requested"},
        own=frozenset({"commit"}),
        left_out={"cancelled.commit": "a batch has its own"},
    ),
    Pair(
        messages.Change,
        queue_pb2.RetryJobResult,
        paths={"status": "retried.status"},
        own=frozenset({"cancel_requested", "commit"}),
        left_out={"retried.next_attempt": "get_job tells it"},
    ),
    Pair(
        messages.Change,
        queue_pb2.UpdateJobResult,
        paths={"status": "updated.status"},
        own=frozenset({"cancel_requested", "commit"}),
    ),
    Pair(messages.ChangePage, queue_pb2.UpdateJobsResponse, paths={"changes": "results"}),
    Pair(messages.ChangePage, queue_pb2.RunJobsResponse, paths={"changes": "results"}),
    Pair(messages.ChangePage, queue_pb2.CancelJobsResponse, paths={"changes": "results"}),
    Pair(messages.ChangePage, queue_pb2.RetryJobsResponse, paths={"changes": "results"}),
    # Workflows.
    Pair(workflow_messages.SubmittedWorkflow, workflows_pb2.SubmitWorkflowResponse),
    Pair(workflow_messages.SubmittedWorkflow, workflows_pb2.AddToWorkflowResponse),
    Pair(workflow_messages.WorkflowPage, workflows_pb2.ListWorkflowsResponse),
    Pair(workflow_messages.WorkflowsRequest, workflows_pb2.ListWorkflowsRequest),
    Pair(workflow_messages.CancelledWorkflow, workflows_pb2.CancelWorkflowResponse),
    # Batches.
    Pair(batch_messages.OpenedBatch, batches_pb2.OpenBatchResponse),
    Pair(batch_messages.AddedToBatch, batches_pb2.AddToBatchResponse),
    Pair(batch_messages.SealedBatch, batches_pb2.SealBatchResponse),
    Pair(batch_messages.BatchRequest, batches_pb2.GetBatchRequest),
    Pair(batch_messages.BatchAnswer, batches_pb2.GetBatchResponse),
    Pair(batch_messages.BatchesRequest, batches_pb2.ListBatchesRequest),
    Pair(batch_messages.BatchPage, batches_pb2.ListBatchesResponse),
    Pair(batch_messages.CancelledBatch, batches_pb2.CancelBatchResponse),
    # Operating.
    Pair(
        messages.Change,
        admin_pb2.PurgeResult,
        paths={"status": "purged_status"},
        own=frozenset({"cancel_requested", "commit"}),
    ),
    Pair(messages.ChangePage, admin_pb2.PurgeResponse, paths={"changes": "results"}),
    Pair(admin_messages.WorkerPage, admin_pb2.ListWorkersResponse),
    Pair(admin_messages.DeadGroups, admin_pb2.GroupDeadResponse),
    Pair(admin_messages.WorkersRequest, admin_pb2.ListWorkersRequest),
    Pair(admin_messages.DeadGroupsRequest, admin_pb2.GroupDeadRequest),
    Pair(admin_messages.StorageOperation, admin_pb2.StorageOperationStats),
    Pair(admin_messages.Checkpoint, admin_pb2.CheckpointInfo),
    Pair(admin_messages.QueueRoot, admin_pb2.StateHeader),
    Pair(admin_messages.StatePart, admin_pb2.GetStateResponse),
    Pair(admin_messages.TypesRequest, admin_pb2.PauseTypesRequest),
    Pair(admin_messages.TypesRequest, admin_pb2.ResumeTypesRequest),
    Pair(admin_messages.PausedTypes, admin_pb2.PauseTypesResponse),
    Pair(admin_messages.PausedTypes, admin_pb2.ResumeTypesResponse),
    Pair(admin_messages.SteppedDown, admin_pb2.StepDownResponse),
    # Letting in.
    Pair(access_messages.NewToken, access_pb2.CreateTokenResponse),
    Pair(access_messages.NewTokenRequest, access_pb2.CreateTokenRequest),
    Pair(access_messages.RotatedToken, access_pb2.RotateTokenResponse),
    Pair(access_messages.TokenPage, access_pb2.ListTokensResponse),
    Pair(access_messages.TokensRequest, access_pb2.ListTokensRequest),
    Pair(access_messages.RevokedToken, access_pb2.RevokeTokenResponse),
    Pair(access_messages.WhoAmI, access_pb2.WhoAmIResponse),
    # Limits.
    Pair(flow_messages.LimitPut, flow_pb2.PutLimitResponse),
    Pair(flow_messages.LimitRequest, flow_pb2.GetLimitRequest),
    Pair(flow_messages.LimitAnswer, flow_pb2.GetLimitResponse),
    Pair(flow_messages.LimitList, flow_pb2.ListLimitsResponse),
    Pair(flow_messages.LimitDeleted, flow_pb2.DeleteLimitResponse),
    Pair(flow_messages.LimitChanged, flow_pb2.SetLimitOverrideResponse),
    Pair(flow_messages.LimitReset, flow_pb2.ResetLimitKeyResponse),
    Pair(flow_messages.LimitKeyPage, flow_pb2.ListLimitKeysResponse),
    # Fair turns.
    Pair(flow_messages.FairnessWeight, flow_pb2.PutFairnessWeightRequest),
    Pair(flow_messages.FairnessWeighed, flow_pb2.PutFairnessWeightResponse),
    Pair(flow_messages.FairnessKeysRequest, flow_pb2.ListFairnessKeysRequest),
    Pair(flow_messages.FairnessKeyPage, flow_pb2.ListFairnessKeysResponse),
    Pair(access_messages.AuditPage, access_pb2.GetAuditResponse),
    # Queues.
    Pair(queue_messages.QueueCreated, admin_pb2.CreateQueueResponse),
    Pair(queue_messages.QueueAnswer, admin_pb2.GetQueueResponse),
    Pair(queue_messages.QueueAnswer, admin_pb2.UpdateQueueResponse),
    Pair(queue_messages.QueuePage, admin_pb2.ListQueuesResponse),
    Pair(queue_messages.QueueDeleted, admin_pb2.DeleteQueueResponse),
    # Schedules.
    Pair(schedule_messages.ScheduleAnswer, schedules_pb2.PutScheduleResponse, own=frozenset({"position"})),
    Pair(schedule_messages.ScheduleAnswer, schedules_pb2.GetScheduleResponse, own=frozenset({"commit"})),
    Pair(schedule_messages.ScheduleAnswer, schedules_pb2.PauseScheduleResponse, own=frozenset({"position"})),
    Pair(schedule_messages.ScheduleAnswer, schedules_pb2.ResumeScheduleResponse, own=frozenset({"position"})),
    Pair(schedule_messages.SchedulePage, schedules_pb2.ListSchedulesResponse),
    Pair(schedule_messages.Deleted, schedules_pb2.DeleteScheduleResponse),
    Pair(schedule_messages.Triggered, schedules_pb2.TriggerScheduleResponse),
    Pair(schedule_messages.Backfilled, schedules_pb2.BackfillScheduleResponse),
    Pair(schedule_messages.PreviewedTimes, schedules_pb2.PreviewScheduleResponse),
)
"""The pairs whose names are not enough to find one by the other, or whose fields differ."""


def _alike() -> Iterator[Pair]:
    """The types with no row above that are called like a message, or like what is got: Info of GetInfoResponse and
    InfoRequest of GetInfoRequest."""
    known = {pair.sdk for pair in _DIFFERENT}
    found = {descriptor.name: descriptor for descriptor in descriptors.messages()}
    for module in (
        job,
        job_inputs,
        limit_uses,
        messages,
        admin_messages,
        access_messages,
        flow_messages,
        queue_messages,
        schedule_messages,
        workflow_messages,
        batch_messages,
        stats,
    ):
        for name, sdk in vars(module).items():
            if isinstance(sdk, type) and sdk.__module__ == module.__name__ and sdk not in known:
                asked = name if name.endswith("Request") else f"{name}Response"
                descriptor = found.get(name) or found.get(f"Get{asked}")
                if descriptor is not None:
                    yield Pair(sdk, descriptors.message_class(descriptor))


def _in_a_queue(pair: Pair) -> Pair:
    """Which queue a call is for, its transport says: no type has it."""
    field = pair.message.DESCRIPTOR.fields_by_name.get("queue")
    if field is None or field.number != QUEUE_FIELD_NUMBER:
        return pair
    return replace(pair, left_out={**pair.left_out, "queue": "the transport names it in every call"})


PAIRS = tuple(map(_in_a_queue, (*_DIFFERENT, *_alike())))
"""Every type that carries a message."""

OUTCOMES: dict[type[Any], type[Any] | None] = {
    queue_pb2.SubmitJobResult: messages.Submitted,
    queue_pb2.HeartbeatJobResult: messages.Renewal,
    queue_pb2.CompleteJobResult: messages.Completed,
}
"""The results of batches, each a success or an error, and what a success is in the SDK: a value, or nothing to tell."""


@dataclass(frozen=True, slots=True)
class Words:
    """Enums are lower-case words in the SDK: DEAD is "dead". What stands for the unspecified value, and for one that a
    newer broker sends (None: its number)."""

    unspecified: str = "unspecified"
    unknown: str | None = None


WORDS = {
    "osqueue.v1.AttemptOutcome": Words(unspecified="running", unknown="failed"),
    "osqueue.v1.JobView": Words(unspecified=""),
    "osqueue.v1.JobOrder": Words(unspecified="oldest"),
    "osqueue.v1.AtLimit": Words(unspecified="", unknown="wait"),
    "osqueue.v1.SequenceAfterDead": Words(unspecified="hold"),
    "osqueue.v1.SubmitOutcome": Words(unspecified=""),
    "osqueue.v1.UniqueScope": Words(unspecified="type"),
    "osqueue.v1.UniqueUntil": Words(unspecified="finished"),
    "osqueue.v1.UniqueOnConflict": Words(unspecified="keep"),
    "osqueue.v1.UniqueIfRunning": Words(unspecified="keep"),
    "osqueue.v1.DstGap": Words(unspecified=""),
    "osqueue.v1.DstRepeat": Words(unspecified=""),
    "osqueue.v1.Overlap": Words(unspecified=""),
    "osqueue.v1.Missed": Words(unspecified=""),
    "osqueue.v1.EndPolicy": Words(unspecified=""),
}
"""The enums with words of their own; the others go by `Words()`."""

_BATCH = "the SDK's calls travel in batches, of one if need be"

RPCS_LEFT_OUT = {
    "SubmitJob": _BATCH,
    "ClaimJob": _BATCH,
    "Heartbeat": _BATCH,
    "CompleteJob": _BATCH,
    "Work": "workers claim with ClaimJobs, which passes gateways too",
}
"""The RPCs that the SDK's transports do not call, and why; their messages need no type."""
