"""What the log holds: each record is a change that has been decided, and names its jobs.

A record says what happened, never what to work out: replaying it needs no clock, no ids,
no limits and no order of dispatch, so a log written by one release reads the same in the
next. Tags and field order are the stored format (docs/data-format.md); fields are only
ever added at the end, with a default, and written only behind a feature (`state/features.py`).
"""

from typing import get_args

from msgspec import Struct

from osqueue_service.state.batch_records import BatchesMoved as BatchesMoved
from osqueue_service.state.batch_records import BatchOpened as BatchOpened
from osqueue_service.state.batch_records import CalledBack as CalledBack
from osqueue_service.state.graph_records import (
    CutOff as CutOff,
)
from osqueue_service.state.graph_records import (
    FollowedUp as FollowedUp,
)
from osqueue_service.state.graph_records import (
    Following as Following,
)
from osqueue_service.state.graph_records import (
    Revived as Revived,
)
from osqueue_service.state.graph_records import (
    Unblocked as Unblocked,
)
from osqueue_service.state.graph_records import (
    WorkflowAdded as WorkflowAdded,
)
from osqueue_service.state.graph_records import (
    WorkflowCancelled as WorkflowCancelled,
)
from osqueue_service.state.model import Ending, JobSpec, Status
from osqueue_service.state.named_limits import Meter, NamedLimit, Override
from osqueue_service.state.record import By as By
from osqueue_service.state.record import Record as Record
from osqueue_service.state.schedules import Outcome, Plan, ScheduleSpec
from osqueue_service.state.update_records import JobChange as JobChange
from osqueue_service.state.update_records import Updated as Updated


class Founded(Record, frozen=True, tag=1):
    """The queue begins; the ids of its jobs are made with `salt`, from the number `ids_from` on in today's form."""

    salt: str
    ids_from: int = 1


class Submitted(Record, frozen=True, tag=2):
    """New jobs, numbered from `first`. `key_ttl_ms` is how long their idempotency keys hold.

    `request` remembers the call itself for `request_ttl_ms`; `numbers` is its answer where some of its items were
    deduplicated (negated) or refused (0).
    """

    first: int
    jobs: list[JobSpec]
    key_ttl_ms: int = 0
    deduplicated: int = 0
    request: str = ""
    request_ttl_ms: int = 0
    fingerprint: bytes = b""
    numbers: tuple[int, ...] = ()


class Grant(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One job handed out."""

    number: int
    token: str
    lease_ms: int


class Claimed(Record, frozen=True, tag=3):
    """A worker holds these jobs now."""

    worker_id: str
    claim_key: str
    grants: list[Grant]


class Completion(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One job done."""

    number: int
    result: bytes | None = None


class Completed(Record, frozen=True, tag=4):
    """These attempts succeeded; jobs that asked for no retention of their own are kept `retention_ms`. Each keeps its
    last `history` attempts."""

    items: list[Completion]
    retention_ms: int
    history: int


class AttemptEnd(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One attempt that ended without success, and where its job goes: `status`, at `next_at` if scheduled."""

    number: int
    ending: Ending
    status: Status
    next_at: int = 0
    error_type: str = ""
    error_message: str = ""


class AttemptsEnded(Record, frozen=True, tag=5):
    """These attempts failed, expired, timed out or were released. Jobs that finish by it are kept `retention_ms`
    (cancelled) or `dead_retention_ms` (dead). Each keeps its last `history` attempts."""

    items: list[AttemptEnd]
    retention_ms: int
    dead_retention_ms: int
    history: int


class Promoted(Record, frozen=True, tag=6):
    """These scheduled jobs are due and wait now, at places from `first` on."""

    first: int
    numbers: list[int]


class CancelRequested(Record, frozen=True, tag=7):
    """These running jobs are to stop."""

    numbers: list[int]
    by: By | None = None


class Cancelled(Record, frozen=True, tag=8):
    """These waiting or scheduled jobs will not run."""

    numbers: list[int]
    retention_ms: int
    by: By | None = None


class Retried(Record, frozen=True, tag=9):
    """These dead jobs wait again with a new budget of attempts, at places from `first` on."""

    first: int
    numbers: list[int]
    by: By | None = None


class Evicted(Record, frozen=True, tag=10):
    """These finished jobs are no longer kept. The last action of each of their tokens is remembered for
    `settled_ttl_ms` after it happened."""

    numbers: list[int]
    settled_ttl_ms: int


class Forgotten(Record, frozen=True, tag=11):
    """These idempotency keys, request ids and settled tokens are forgotten."""

    keys: list[str]
    requests: list[str]
    settled: list[str]


class Purged(Record, frozen=True, tag=12):
    """These jobs were removed by an operator."""

    numbers: list[int]
    by: By | None = None


class Paused(Record, frozen=True, tag=13):
    """Jobs of these types are not handed out."""

    types: list[str]
    by: By | None = None


class Resumed(Record, frozen=True, tag=14):
    """Jobs of these types are handed out again."""

    types: list[str]
    by: By | None = None


class IdsRenewed(Record, frozen=True, tag=15):
    """Jobs from the number `first` on have ids of today's form; those before keep the form they were given."""

    first: int


class SteppedDown(Record, frozen=True, tag=16):
    """The leader was asked to leave. The queue is as it was."""

    by: By | None = None


class LimitPut(Record, frozen=True, tag=17):
    """The limit is as this says from now on."""

    limit: NamedLimit
    by: By | None = None


class LimitDeleted(Record, frozen=True, tag=18):
    """The limit is no more, with all that differed for its keys. Jobs that name it are held by it no longer."""

    limit: str
    by: By | None = None


class LimitOverridden(Record, frozen=True, tag=19):
    """One key has other numbers than the rest of the limit's; no `override`: the same again."""

    limit: str
    key: str
    override: Override | None = None
    by: By | None = None


class Metered(Record, frozen=True, tag=20):
    """How far these keys are used from now on."""

    meters: list[Meter]
    by: By | None = None


class OverridesEnded(Record, frozen=True, tag=21):
    """These keys (limit, key) have the numbers of the others again: their time was over."""

    keys: list[tuple[str, str]]


class FairnessWeighed(Record, frozen=True, tag=50):
    """A fairness key has this weight from now on, in thousandths; 1,000 is what it has otherwise."""

    key: str
    weight: int
    by: By | None = None


class SchedulePut(Record, frozen=True, tag=40):
    """A schedule is made, under the next number, or has another spec from now on."""

    number: int
    id: str
    spec: ScheduleSpec
    plan: Plan
    by: By | None = None


class SchedulesRemoved(Record, frozen=True, tag=41):
    """These schedules were deleted; the jobs that they made stay."""

    numbers: list[int]
    by: By | None = None


class SchedulesPaused(Record, frozen=True, tag=42):
    """These schedules do not fire."""

    numbers: list[int]
    reason: str = ""
    by: By | None = None


class ScheduleResumed(Record, frozen=True, tag=43):
    """This schedule fires again."""

    number: int
    plan: Plan
    by: By | None = None


class Decision(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What became of a nominal time of a schedule: `job` is the number of the job that is made of its template by this
    record, or of the one that was in the way; `count` is of how many times this is told, the last being `nominal`."""

    schedule: int
    nominal: int
    outcome: Outcome
    job: int = 0
    count: int = 1


class Planned(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What comes next for one schedule."""

    schedule: int
    plan: Plan


class Fired(Record, frozen=True, tag=44):
    """Times of schedules were decided: the jobs that they make, numbered from `first` on, and what comes next for each
    schedule. Each remembers its last `kept` firings. `request` remembers the call that asked, as in Submitted."""

    first: int
    decisions: list[Decision]
    plans: list[Planned]
    kept: int
    request: str = ""
    request_ttl_ms: int = 0
    fingerprint: bytes = b""


class Replacement(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A job that waits, with another spec from now on: it is due at `due_at`, or waits (0). `anew`: at a new place."""

    number: int
    spec: JobSpec
    due_at: int = 0
    anew: bool = False


class Replaced(Record, frozen=True, tag=25):
    """Newcomers took the places of these jobs, which begin anew as what they ask for; those that move have places from
    `first` on."""

    first: int
    items: list[Replacement]


class KeyAnswered(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What an idempotency key stands for that came with no new job: a marked number, and the print of what was sent."""

    key: str
    number: int
    fingerprint: bytes


class KeysAnswered(Record, frozen=True, tag=26):
    """These idempotency keys stand for jobs that were there; they hold for `ttl_ms`."""

    items: list[KeyAnswered]
    ttl_ms: int


class UniqueKeysFreed(Record, frozen=True, tag=27):
    """These unique keys, named as they are held, are no longer kept for jobs that ended."""

    names: list[str]


AnyRecord = (
    Founded
    | Submitted
    | Claimed
    | Completed
    | AttemptsEnded
    | Promoted
    | CancelRequested
    | Cancelled
    | Retried
    | Evicted
    | Forgotten
    | Purged
    | Paused
    | Resumed
    | IdsRenewed
    | SteppedDown
    | LimitPut
    | LimitDeleted
    | LimitOverridden
    | Metered
    | OverridesEnded
    | FairnessWeighed
    | SchedulePut
    | SchedulesRemoved
    | SchedulesPaused
    | ScheduleResumed
    | Fired
    | FollowedUp
    | Replaced
    | KeysAnswered
    | UniqueKeysFreed
    | WorkflowAdded
    | Unblocked
    | CutOff
    | Revived
    | WorkflowCancelled
    | BatchOpened
    | BatchesMoved
    | CalledBack
    | Updated
)

MANAGED: frozenset[type[Record]] = frozenset(each for each in get_args(AnyRecord) if "by" in each.__struct_fields__)
"""The records that may say who asked for them."""
