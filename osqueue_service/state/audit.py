"""Who changed the course of jobs, and when: what the records of management say, kept for people to read.

An entry is derived from the record that makes the change, and only where that says who asked: so none can be forged,
lost or doubled. The newest `ENTRIES_MAX` are kept.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from osqueue_service.state.records import (
    BatchesMoved,
    By,
    Cancelled,
    CancelRequested,
    FairnessWeighed,
    LimitDeleted,
    LimitOverridden,
    LimitPut,
    Metered,
    Paused,
    Purged,
    Record,
    Resumed,
    Retried,
    SchedulePut,
    ScheduleResumed,
    SchedulesPaused,
    SchedulesRemoved,
    SteppedDown,
    Updated,
)

if TYPE_CHECKING:
    from osqueue_service.state.state import State

ENTRIES_MAX: Final = 10_000
"""A part of the stored format: replay lets go of the same entries in every release."""

NAMED_MAX: Final = 10
"""Jobs or types that an entry names; it counts them all."""


Action = Literal[
    "cancel", "retry", "update", "purge", "pause", "resume", "step_down",
    "put_schedule", "delete_schedule", "pause_schedule", "resume_schedule",
    "put_limit", "delete_limit", "override_limit", "reset_limit",
    "put_fairness_weight",
    "cancel_batch",
]  # fmt: skip

ACTIONS: dict[type[Record], Action] = {
    Cancelled: "cancel",
    CancelRequested: "cancel",
    Retried: "retry",
    Updated: "update",
    Purged: "purge",
    Paused: "pause",
    Resumed: "resume",
    SteppedDown: "step_down",
    SchedulePut: "put_schedule",
    SchedulesRemoved: "delete_schedule",
    SchedulesPaused: "pause_schedule",
    ScheduleResumed: "resume_schedule",
    LimitPut: "put_limit",
    LimitDeleted: "delete_limit",
    LimitOverridden: "override_limit",
    Metered: "reset_limit",
    FairnessWeighed: "put_fairness_weight",
    BatchesMoved: "cancel_batch",
}
"""What each record that says who asked for it does."""


class AuditEntry(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One change. `number` counts all that there ever were; `names` are the first of the types or jobs concerned."""

    number: int
    at: int
    principal: str
    origin: str
    action: str
    count: int
    names: tuple[str, ...] = ()


class Audit:
    """The entries, oldest first."""

    def __init__(self) -> None:
        self._entries: deque[AuditEntry] = deque(maxlen=ENTRIES_MAX)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[AuditEntry]:
        return iter(self._entries)

    def newest(self, before: int = 0) -> Iterator[AuditEntry]:
        """The newest first; only those with numbers below `before`, unless that is 0."""
        newer = max(0, self._entries[-1].number - before + 1) if before and self._entries else 0
        return islice(reversed(self._entries), newer, None)

    def note(self, record: Any, at_ms: int, state: "State") -> None:
        """Keep who asked for this record, if it says so. It has not been applied yet."""
        by: By | None = record.by
        if by is None:
            return
        action, count, named = _told(record, state)
        names = tuple(named[:NAMED_MAX])
        last = self._entries[-1] if self._entries else None
        if last is not None and (last.at, last.principal, last.action) == (at_ms, by.principal, action):
            # One call made several records: some of the jobs it cancelled had begun to run.
            self._entries[-1] = replace(last, count=last.count + count, names=(last.names + names)[:NAMED_MAX])
            return
        number = last.number + 1 if last is not None else 1
        self._entries.append(AuditEntry(number, at_ms, by.principal, by.origin, action, count, names))

    def load(self, entries: list[AuditEntry]) -> None:
        """Entries of an image, in their order."""
        self._entries.extend(entries)


def _told(record: Any, state: "State") -> tuple[Action, int, Sequence[str]]:
    """What is done, to how many, and the first of these, before it is done."""
    action = ACTIONS[type(record)]
    match record:
        case SchedulePut():
            return action, 1, [record.id]
        case SchedulesRemoved() | SchedulesPaused():
            return action, len(record.numbers), _schedules(state, record.numbers)
        case ScheduleResumed():
            return action, 1, _schedules(state, [record.number])
        case LimitPut():
            return action, 1, [record.limit.name]
        case LimitDeleted() | LimitOverridden():
            return action, 1, [record.limit]
        case FairnessWeighed():
            return action, 1, [record.key]
        case Metered():
            return action, len(record.meters), [meter.limit for meter in record.meters]
        case Paused() | Resumed():
            return action, len(record.types), record.types
        case SteppedDown():
            return action, 0, []
        case _:
            return action, len(record.numbers), [state.ids.of(number) for number in record.numbers[:NAMED_MAX]]


def _schedules(state: "State", numbers: list[int]) -> list[str]:
    found = (state.schedules.numbered(number) for number in numbers[:NAMED_MAX])
    return [schedule.id for schedule in found if schedule is not None]
