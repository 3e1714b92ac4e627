"""The state machine: (state, command, now) -> (records, answer).

Deciding reads the state and changes nothing; a refusal is an `OsqueueError`. The records are
then applied by the same code that replays the log, so what a broker did and what a recovery
rebuilds cannot drift apart.
"""

from collections.abc import Callable
from typing import Any

from osqueue_service.limits import Limits
from osqueue_service.state import batching, schedule_control, workflows
from osqueue_service.state.batch_commands import AddToBatch, CancelBatch, OpenBatch, SealBatch
from osqueue_service.state.claiming import decide_claim
from osqueue_service.state.commands import (
    AddToWorkflow,
    BackfillSchedule,
    Cancel,
    CancelWorkflow,
    Claim,
    Command,
    Complete,
    DeleteLimit,
    DeleteSchedule,
    Fail,
    NoteStepDown,
    PauseSchedule,
    PauseTypes,
    Purge,
    PutFairnessWeight,
    PutLimit,
    PutSchedule,
    Release,
    ResetLimitKey,
    ResumeSchedule,
    ResumeTypes,
    Retry,
    SetLimitOverride,
    Submit,
    SubmitWorkflow,
    Sweep,
    TriggerSchedule,
    Update,
)
from osqueue_service.state.control import (
    decide_cancel,
    decide_note_step_down,
    decide_pause,
    decide_purge,
    decide_resume,
    decide_retry,
)
from osqueue_service.state.due import decide_sweep
from osqueue_service.state.following import decide_on_dead
from osqueue_service.state.limiting import decide_delete, decide_override, decide_put, decide_reset
from osqueue_service.state.records import (
    AnyRecord,
    CalledBack,
    Cancelled,
    CancelRequested,
    CutOff,
    Revived,
    Unblocked,
)
from osqueue_service.state.settling import decide_complete, decide_fail, decide_release
from osqueue_service.state.state import State
from osqueue_service.state.submission import decide_submit
from osqueue_service.state.updating import decide_update
from osqueue_service.state.weighing import decide_weight

_DECIDE: dict[type[Command], Callable[[State, Any, int, Limits], tuple[list[AnyRecord], Any]]] = {
    Submit: decide_submit,
    Claim: decide_claim,
    Complete: decide_complete,
    Fail: decide_fail,
    Release: decide_release,
    Sweep: decide_sweep,
    Cancel: decide_cancel,
    Retry: decide_retry,
    Purge: decide_purge,
    Update: decide_update,
    PauseTypes: decide_pause,
    ResumeTypes: decide_resume,
    NoteStepDown: decide_note_step_down,
    SubmitWorkflow: workflows.decide_submit_workflow,
    AddToWorkflow: workflows.decide_add_to_workflow,
    CancelWorkflow: workflows.decide_cancel_workflow,
    OpenBatch: batching.decide_open,
    AddToBatch: batching.decide_add,
    SealBatch: batching.decide_seal,
    CancelBatch: batching.decide_cancel,
    PutSchedule: schedule_control.decide_put,
    DeleteSchedule: schedule_control.decide_delete,
    PauseSchedule: schedule_control.decide_pause,
    ResumeSchedule: schedule_control.decide_resume,
    TriggerSchedule: schedule_control.decide_trigger,
    BackfillSchedule: schedule_control.decide_backfill,
    PutLimit: decide_put,
    DeleteLimit: decide_delete,
    SetLimitOverride: decide_override,
    ResetLimitKey: decide_reset,
    PutFairnessWeight: decide_weight,
}


def decide(state: State, command: Command, now_ms: int, limits: Limits) -> tuple[list[AnyRecord], Any]:
    """What the command changes, as records, and its answer. Raises `OsqueueError` when it is refused."""
    return _DECIDE[type(command)](state, command, now_ms, limits)


def decide_effects(state: State, limits: Limits, most: int) -> list[AnyRecord]:
    """What follows at once, in the same commit, from what was just applied; to be asked until there is nothing. Of what
    is found again by every later sweep, at most `most`."""
    if state.died:
        return decide_on_dead(state)
    if most <= 0:
        return []
    records = workflows.decide_dependents(state, limits, most) if state.graphs.fates else []
    return records or batching.decide_effects(state, limits, most)


def effects_of(records: list[AnyRecord]) -> int:
    """How many jobs these effects concern, as far as that is bounded."""
    changed = [len(record.numbers) for record in records if isinstance(record, _CHANGING)]
    return sum(changed) + sum([len(record.items) for record in records if isinstance(record, CalledBack)])


_CHANGING = Unblocked | CutOff | Revived | Cancelled | CancelRequested
