"""Features: the names under which the stored formats grow.

A feature is a record kind, a field or a part of an image that not every release knows. The root lists those that the
stored data needs; a leader adds one before it writes it for the first time, and only while every broker that attends
understands it. What no queue uses costs nothing, and keeps no earlier release from coming back.

A release that brings a feature names it here, says what uses it in `of_command` and `of_record`, and
docs/data-format.md says what it adds.
"""

from collections.abc import Iterable
from typing import Final

from osqueue_service.state.commands import (
    BackfillSchedule,
    Cancel,
    Command,
    DeleteSchedule,
    PauseSchedule,
    PauseTypes,
    Purge,
    PutSchedule,
    ResumeSchedule,
    ResumeTypes,
    Retry,
    TriggerSchedule,
)
from osqueue_service.state.records import (
    AnyRecord,
    Cancelled,
    CancelRequested,
    Fired,
    Paused,
    Purged,
    Resumed,
    Retried,
    SchedulePut,
    ScheduleResumed,
    SchedulesPaused,
    SchedulesRemoved,
    SteppedDown,
)

PRINCIPAL: Final = "principal"

SCHEDULES: Final = "schedules"

FEATURES: Final = {
    PRINCIPAL: "who asked for a change, in the records of management: `by`, and SteppedDown",
    SCHEDULES: "the records of schedules, their part of an image, and `schedule` and `scheduled_for` of a job",
}
"""What this release understands, and what each of them adds."""

UNDERSTOOD: Final = frozenset(FEATURES)

_ASKED = (Cancel, Retry, Purge, PauseTypes, ResumeTypes)
_MANAGED = (Cancelled, CancelRequested, Retried, Purged, Paused, Resumed)
_OF_SCHEDULES = (SchedulePut, SchedulesRemoved, SchedulesPaused, ScheduleResumed, Fired)
_USERS = frozenset((*_MANAGED, SteppedDown, *_OF_SCHEDULES))
"""The records that may use a feature."""

_ABOUT_SCHEDULES = (PutSchedule, DeleteSchedule, PauseSchedule, ResumeSchedule, TriggerSchedule, BackfillSchedule)

_NONE: frozenset[str] = frozenset()
_WITH_SCHEDULES = frozenset({SCHEDULES})
_WITH_PRINCIPAL = frozenset({PRINCIPAL})


def of_command(command: Command) -> frozenset[str]:
    """The features that the records of this command may use."""
    if isinstance(command, _ABOUT_SCHEDULES):
        return _WITH_SCHEDULES
    return _WITH_PRINCIPAL if isinstance(command, _ASKED) and command.by is not None else _NONE


def of_record(record: AnyRecord) -> frozenset[str]:
    """The features that this record uses."""
    if isinstance(record, SteppedDown):
        return _WITH_PRINCIPAL
    if isinstance(record, _OF_SCHEDULES):
        return _WITH_SCHEDULES
    return _WITH_PRINCIPAL if isinstance(record, _MANAGED) and record.by is not None else _NONE


def missing(records: Iterable[AnyRecord], switched_on: Iterable[str]) -> list[str]:
    """The features that these records use and that are not switched on."""
    used = {feature for record in records if type(record) in _USERS for feature in of_record(record)}
    return sorted(used.difference(switched_on)) if used else []
