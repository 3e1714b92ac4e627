"""Features: the names under which the stored formats grow.

A feature is a record kind, a field or a part of an image that not every release knows. The root lists those that the
stored data needs; a leader adds one before it writes it for the first time, and only while every broker that attends
understands it. What no queue uses costs nothing, and keeps no earlier release from coming back.

A release that brings a feature names it here, says what uses it in `of_command` and `of_record`, and
docs/data-format.md says what it adds.
"""

from collections.abc import Iterable
from typing import Final

from osqueue_service.state.batch_commands import AddToBatch, CancelBatch, OpenBatch, SealBatch
from osqueue_service.state.batches import BatchSpec
from osqueue_service.state.commands import (
    AddToWorkflow,
    BackfillSchedule,
    Cancel,
    CancelWorkflow,
    Command,
    Complete,
    DeleteLimit,
    DeleteSchedule,
    NoteStepDown,
    PauseSchedule,
    PauseTypes,
    Purge,
    PutFairnessWeight,
    PutLimit,
    PutSchedule,
    ResetLimitKey,
    ResumeSchedule,
    ResumeTypes,
    Retry,
    SetLimitOverride,
    Submit,
    SubmitWorkflow,
    TriggerSchedule,
    Update,
)
from osqueue_service.state.model import JobSpec
from osqueue_service.state.records import (
    AnyRecord,
    BatchesMoved,
    BatchOpened,
    CalledBack,
    Cancelled,
    CancelRequested,
    CutOff,
    FairnessWeighed,
    Fired,
    FollowedUp,
    KeysAnswered,
    LimitDeleted,
    LimitOverridden,
    LimitPut,
    Metered,
    OverridesEnded,
    Paused,
    Purged,
    Replaced,
    Resumed,
    Retried,
    Revived,
    SchedulePut,
    ScheduleResumed,
    SchedulesPaused,
    SchedulesRemoved,
    SteppedDown,
    Submitted,
    Unblocked,
    UniqueKeysFreed,
    Updated,
    WorkflowAdded,
    WorkflowCancelled,
)

PRINCIPAL: Final = "principal"
FOLLOW_UPS: Final = "follow-ups"
WORKFLOWS: Final = "workflows"
BATCHES: Final = "batches"
SCHEDULES: Final = "schedules"
LIMITS: Final = "limits"
SEQUENCES: Final = "sequences"
FAIRNESS: Final = "fairness"
UNIQUE: Final = "unique"
QUEUES: Final = "queues"
UPDATES: Final = "updates"

FEATURES: Final = {
    PRINCIPAL: "who asked for a change, in the records of management: `by`, SteppedDown, and the audit of an image",
    LIMITS: "named limits: `limits` of a job, and the records and parts of an image that define and meter them",
    SCHEDULES: "the records of schedules, their part of an image, and `schedule` and `scheduled_for` of a job",
    WORKFLOWS: "jobs that need others: the records 31 to 35, `member` and `cut_by` of a job, their part of an image",
    BATCHES: "jobs that are counted together: the records 36 to 38, `batch` of a job, their part of an image",
    FOLLOW_UPS: "jobs that follow another's end: FollowedUp, `on_dead` and `origin`, what a token was answered",
    QUEUES: "queues with names beside the default one, whose root says so: their roots, with `uid`, `member`, `queue`",
    UNIQUE: "jobs with a unique key: `unique`, blocked jobs, Replaced, KeysAnswered, UniqueKeysFreed, marked numbers",
    SEQUENCES: "jobs that run one after the other: `sequence`, `turn`, blocked jobs",
    FAIRNESS: "fairness keys: `fairness_key` of a job, FairnessWeighed and the weights in an image",
    UPDATES: "jobs that were changed while they waited: Updated",
}
"""What this release understands, and what each of them adds."""

UNDERSTOOD: Final = frozenset(FEATURES)

_ASKED = (Cancel, Retry, Purge, PauseTypes, ResumeTypes, NoteStepDown)
_MANAGED = (Cancelled, CancelRequested, Retried, Purged, Paused, Resumed)
_LIMITING = (PutLimit, DeleteLimit, SetLimitOverride, ResetLimitKey)
_LIMITED = (LimitPut, LimitDeleted, LimitOverridden, Metered, OverridesEnded)
_OF_SCHEDULES = (SchedulePut, SchedulesRemoved, SchedulesPaused, ScheduleResumed, Fired)
_UNIQUE = (Replaced, KeysAnswered, UniqueKeysFreed)
_OF_WORKFLOWS = (WorkflowAdded, Unblocked, CutOff, Revived, WorkflowCancelled)
_OF_BATCHES = (BatchOpened, BatchesMoved, CalledBack)
_USERS = frozenset(
    (
        *_MANAGED,
        SteppedDown,
        FairnessWeighed,
        *_OF_SCHEDULES,
        Submitted,
        FollowedUp,
        *_LIMITED,
        *_UNIQUE,
        *_OF_WORKFLOWS,
        *_OF_BATCHES,
        Updated,
    )
)
"""The records that may use a feature."""

_ABOUT_BATCHES = (OpenBatch, AddToBatch, SealBatch, CancelBatch)
_ABOUT_SCHEDULES = (PutSchedule, DeleteSchedule, PauseSchedule, ResumeSchedule, TriggerSchedule, BackfillSchedule)

_NONE: frozenset[str] = frozenset()
_WITH_SCHEDULES = frozenset({SCHEDULES})
_WITH_PRINCIPAL = frozenset({PRINCIPAL})
_WITH_FOLLOW_UPS = frozenset({FOLLOW_UPS})
_WITH_LIMITS = frozenset({LIMITS})
_WITH_UNIQUE = frozenset({UNIQUE})
_WITH_WORKFLOWS = frozenset({WORKFLOWS})
_WITH_SEQUENCES = frozenset({SEQUENCES})
_WITH_FAIRNESS = frozenset({FAIRNESS})
_WITH_BATCHES = frozenset({BATCHES})
_WITH_UPDATES = frozenset({UPDATES})


def of_command(command: Command) -> frozenset[str]:
    """The features that the records of this command may use."""
    if isinstance(command, _LIMITING):
        return frozenset({LIMITS, PRINCIPAL}) if command.by is not None else _WITH_LIMITS
    if isinstance(command, PutFairnessWeight | Update):
        own = _WITH_FAIRNESS if isinstance(command, PutFairnessWeight) else _WITH_UPDATES
        return own if command.by is None else own | _WITH_PRINCIPAL
    if isinstance(command, PutSchedule):
        return _WITH_SCHEDULES | _of_jobs([command.spec.job])
    if isinstance(command, _ABOUT_SCHEDULES):
        return _WITH_SCHEDULES
    if isinstance(command, SubmitWorkflow | AddToWorkflow):
        return _WITH_WORKFLOWS | _of_jobs([node.job for node in command.nodes])
    if isinstance(command, CancelWorkflow):
        return _WITH_WORKFLOWS if command.by is None else _WITH_WORKFLOWS | _WITH_PRINCIPAL
    if isinstance(command, _ABOUT_BATCHES):
        return _of_batch_command(command)
    if isinstance(command, Submit):
        return _of_jobs(command.jobs)
    if isinstance(command, Complete):
        following = [spec for item in command.items for spec in item.follow_ups]
        return _WITH_FOLLOW_UPS | _of_jobs(following) if following else _NONE
    return _WITH_PRINCIPAL if isinstance(command, _ASKED) and command.by is not None else _NONE


def _of_jobs(specs: Iterable[JobSpec]) -> frozenset[str]:
    """The features that these jobs use. Most use none: that is found out without a call for each."""
    unusual = [spec.more for spec in specs if spec.more is not None]
    if not unusual:
        return _NONE
    used = _WITH_FOLLOW_UPS if any(more.origin or more.on_dead for more in unusual) else _NONE
    used |= _WITH_BATCHES if any(more.batch for more in unusual) else _NONE
    used |= _WITH_LIMITS if any(more.limits for more in unusual) else _NONE
    used |= _WITH_UNIQUE if any(more.unique for more in unusual) else _NONE
    used |= _WITH_FAIRNESS if any(more.fairness_key for more in unusual) else _NONE
    return used | _WITH_SEQUENCES if any(more.sequence for more in unusual) else used


def _of_batch_command(command: OpenBatch | AddToBatch | SealBatch | CancelBatch) -> frozenset[str]:
    if isinstance(command, OpenBatch):
        callbacks = _callbacks(command.spec)
        return _WITH_BATCHES | _of_jobs(callbacks) | (_WITH_FOLLOW_UPS if callbacks else _NONE)
    if isinstance(command, AddToBatch):
        return _WITH_BATCHES | _of_jobs(command.jobs)
    return _WITH_BATCHES | _WITH_PRINCIPAL if isinstance(command, CancelBatch) and command.by else _WITH_BATCHES


def _callbacks(spec: BatchSpec) -> list[JobSpec]:
    return [job for job in (spec.on_first_dead, spec.on_success, spec.on_finished) if job is not None]


def _of_batches(record: BatchOpened | BatchesMoved | CalledBack) -> frozenset[str]:
    if isinstance(record, BatchOpened):
        return _WITH_BATCHES | _of_jobs(_callbacks(record.spec))
    if isinstance(record, CalledBack):
        return _WITH_BATCHES | _of_jobs([item.job for item in record.items])
    return _WITH_BATCHES if record.by is None else _WITH_BATCHES | _WITH_PRINCIPAL


def of_record(record: AnyRecord) -> frozenset[str]:
    """The features that this record uses."""
    if isinstance(record, SteppedDown):
        return _WITH_PRINCIPAL
    if isinstance(record, FairnessWeighed | Updated):
        own = _WITH_FAIRNESS if isinstance(record, FairnessWeighed) else _WITH_UPDATES
        return own if record.by is None else own | _WITH_PRINCIPAL
    if isinstance(record, SchedulePut):
        return _WITH_SCHEDULES | _of_jobs([record.spec.job])
    if isinstance(record, _OF_SCHEDULES):
        return _WITH_SCHEDULES
    if isinstance(record, _UNIQUE):
        return _WITH_UNIQUE
    if isinstance(record, WorkflowAdded):
        return _WITH_WORKFLOWS | _of_jobs(record.jobs)
    if isinstance(record, _OF_WORKFLOWS):
        return _WITH_WORKFLOWS
    if isinstance(record, _OF_BATCHES):
        return _of_batches(record)
    if isinstance(record, FollowedUp):
        return _WITH_FOLLOW_UPS | _of_jobs([spec for item in record.items for spec in item.jobs])
    if isinstance(record, Submitted):
        return _of_jobs(record.jobs)
    if isinstance(record, _LIMITED):
        return _WITH_LIMITS if getattr(record, "by", None) is None else _WITH_LIMITS | _WITH_PRINCIPAL
    return _WITH_PRINCIPAL if isinstance(record, _MANAGED) and record.by is not None else _NONE


def used_by(records: Iterable[AnyRecord]) -> set[str]:
    """The features that these records use."""
    return {feature for record in records if type(record) in _USERS for feature in of_record(record)}


def missing(records: Iterable[AnyRecord], switched_on: Iterable[str]) -> list[str]:
    """The features that these records use and that are not switched on."""
    return sorted(used_by(records).difference(switched_on))
