"""What may be asked of the queue, and what it answers.

A command is complete: ids, tokens and jitter were drawn before it got here, so deciding it
needs nothing but the state and the time. A command that names several jobs answers for each
of them, in order, with an answer or the error of that item.
"""

from collections.abc import Sequence

from msgspec import Struct

from osqueue_service.errors import OsqueueError
from osqueue_service.state.model import JobSpec, Status
from osqueue_service.state.named_limits import NamedLimit, Override
from osqueue_service.state.needs import Policy
from osqueue_service.state.records import By, JobChange
from osqueue_service.state.schedules import ScheduleSpec
from osqueue_service.state.unique import Outcome


class Command(Struct, gc=False):
    """Base of all commands."""


class Submit(Command):
    """Accept these jobs. `atomic`: all or none, an error of one is the error of the call."""

    jobs: Sequence[JobSpec]
    atomic: bool = True
    request_id: str = ""


class SubmitAnswer(Struct, frozen=True, gc=False):
    """The accepted job; `deduplicated` when an earlier submission is that job. `outcome` of one with a unique key."""

    job_id: str
    deduplicated: bool = False
    outcome: Outcome = Outcome.NONE


class NodeNeed(Struct, frozen=True, gc=False):
    """What a node needs: another one, by name."""

    node: str
    if_dead: Policy = Policy.CASCADE
    if_cancelled: Policy = Policy.CASCADE
    pass_result: bool = False


class Node(Struct, frozen=True, gc=False):
    """One job of a workflow: its name there, and what it needs."""

    name: str
    job: JobSpec
    needs: Sequence[NodeNeed] = ()


class SubmitWorkflow(Command):
    """Accept these jobs, which need each other, all or none. The nodes have been checked: their names are unlike, what
    they need is among them, and no way leads from one to itself. Answers a `WorkflowAnswer`."""

    name: str
    nodes: Sequence[Node]
    request_id: str = ""


class AddToWorkflow(Command):
    """Accept more jobs for the workflow of a job whose lease the caller holds. Nodes that are there already are
    answered, and not changed. Answers a `WorkflowAnswer`."""

    job_id: str
    worker_id: str
    token: str
    nodes: Sequence[Node]


class WorkflowAnswer(Struct, frozen=True, gc=False):
    """The workflow, and the ids of the nodes' jobs in the order of the call."""

    number: int
    workflow_id: str
    job_ids: Sequence[str]


class CancelWorkflow(Command):
    """None of its jobs is wanted: those that wait are cancelled, those that run are asked to stop, and it stops
    taking jobs. Answers how many were cancelled, and how many asked."""

    number: int
    by: By | None = None


class Claim(Command):
    """Hand out up to `max_jobs` waiting jobs of these types (none named: of any) to the worker.

    At least one job is handed out even if it alone exceeds `max_bytes`. `lease_ms` = 0 leaves the job's own or the
    default. `tokens` has one fresh token for every job that may be handed out.
    """

    worker_id: str
    types: Sequence[str] = ()
    max_jobs: int = 1
    max_bytes: int = 0
    lease_ms: int = 0
    claim_key: str = ""
    tokens: Sequence[str] = ()


class Input(Struct, frozen=True, gc=False):
    """How a job that was needed ended: its status, or None when it was purged. `omitted`: it has a result that is not
    here."""

    node: str
    job_id: str
    status: Status | None
    result: bytes | None = None
    omitted: bool = False


class Granted(Struct, frozen=True, gc=False):
    """One job as its worker receives it. `cancel_requested` only on a lease that is handed out again.
    `came_from`: the id of the job whose end submitted it."""

    job_id: str
    number: int
    spec: JobSpec
    token: str
    attempt: int
    lease_ms: int
    created_at: int
    max_attempts: int
    cancel_requested: bool = False
    came_from: str = ""
    workflow_id: str = ""
    inputs: tuple[Input, ...] = ()


class LimitReport(Struct, frozen=True, gc=False):
    """What a worker says of its job's limits, each by name: how much of the rate the attempt used, and for how long
    (ms) nothing of the job's key shall start."""

    usage: tuple[tuple[str, int], ...] = ()
    backoff: tuple[tuple[str, int], ...] = ()


class CompleteItem(Struct, frozen=True, gc=False):
    """One attempt that succeeded. Without a token the worker id must be that of the lease."""

    job_id: str
    worker_id: str
    token: str = ""
    result: bytes | None = None
    follow_ups: Sequence[JobSpec] = ()
    report: LimitReport | None = None


class Complete(Command):
    """These attempts succeeded, and are followed by what they name, in the same commit. Answers per item None, or a
    `Followed` where there were to be follow-ups."""

    items: Sequence[CompleteItem]


class Followed(Struct, frozen=True, gc=False):
    """What became of each follow-up: its answer, or what refused it while its job is completed all the same.
    `withheld`: none was submitted, because the job was to be cancelled."""

    answers: tuple[SubmitAnswer | OsqueueError, ...] = ()
    withheld: bool = False


class FailItem(Struct, frozen=True, gc=False):
    """One attempt that failed. `retry_delay_ms` < 0 leaves the delay to the job's policy; `jitter` in [0, 1)."""

    job_id: str
    worker_id: str
    token: str = ""
    error_type: str = ""
    error_message: str = ""
    retryable: bool = True
    retry_delay_ms: int = -1
    jitter: float = 0.5
    report: LimitReport | None = None


class Fail(Command):
    """These attempts failed. Answers a `FailAnswer` per item."""

    items: Sequence[FailItem]


class FailAnswer(Struct, frozen=True, gc=False):
    """Where the job went: UNCLAIMED (waits again), SCHEDULED (until `next_at`), DEAD or CANCELLED."""

    status: Status
    next_at: int = 0


class ReleaseItem(Struct, frozen=True, gc=False):
    """One job that its worker gives back unfinished."""

    job_id: str
    worker_id: str
    token: str = ""
    report: LimitReport | None = None


class Release(Command):
    """These jobs wait again at their old places; the attempts do not count. Answers per item the `Status` that the job
    took: UNCLAIMED, or CANCELLED when that had been asked for."""

    items: Sequence[ReleaseItem]


class Sweep(Command):
    """Do what is due: expire these leases (number, token), end attempts that ran too long, promote scheduled jobs,
    evict finished ones, forget old keys, fire schedules. At most `limit` of each. Schedules fire when `wall_ms`, the
    wall clock, has reached their time, too; None: it is as the time of the commit."""

    expired: Sequence[tuple[int, str]] = ()
    jitters: Sequence[float] = ()
    limit: int = 2_000
    forget: bool = True
    wall_ms: int | None = None


class Cancel(Command):
    """These jobs are not wanted. Waiting ones are cancelled at once, running ones are asked to stop.
    Answers the resulting `Status` per item (IN_PROGRESS: asked)."""

    job_ids: Sequence[str]
    by: By | None = None


class Update(Command):
    """These jobs, which wait, are to be as `change` says. Answers the resulting `Status` per item."""

    job_ids: Sequence[str]
    change: JobChange
    by: By | None = None


class Retry(Command):
    """These dead jobs wait again with a new budget of attempts. Answers None per item."""

    job_ids: Sequence[str]
    by: By | None = None


class Purge(Command):
    """Remove these jobs for good, whatever their status. Answers None per item."""

    job_ids: Sequence[str]
    by: By | None = None


class NoteStepDown(Command):
    """The leader was asked to leave: only who asked is kept, if that is said. Answers None."""

    by: By | None = None


class PauseTypes(Command):
    """Hand out no jobs of these types. Answers all paused types."""

    types: Sequence[str]
    by: By | None = None


class ResumeTypes(Command):
    """Hand out jobs of these types again. Answers all paused types."""

    types: Sequence[str]
    by: By | None = None


class PutSchedule(Command):
    """This schedule shall be so from now on. `revision`: only if it has this one; 0: only if there is none; None:
    whatever it is. Answers the `Schedule`."""

    id: str
    spec: ScheduleSpec
    revision: int | None = None
    wall_ms: int | None = None
    by: By | None = None


class DeleteSchedule(Command):
    """This schedule shall go. Its jobs stay. Answers whether there was one."""

    id: str
    by: By | None = None


class PauseSchedule(Command):
    """It shall not fire. Answers the `Schedule`."""

    id: str
    reason: str = ""
    by: By | None = None


class ResumeSchedule(Command):
    """It fires again, from now on. Answers the `Schedule`."""

    id: str
    by: By | None = None


class TriggerSchedule(Command):
    """Submit a job of its template now, whatever its times and its last job. Answers the job's id."""

    id: str
    request_id: str = ""


class BackfillSchedule(Command):
    """Submit a job for each of its times from `first_at` to before `end_at`, whatever became of them before. Answers
    the jobs' ids with their times."""

    id: str
    first_at: int
    end_at: int
    request_id: str = ""


class PutLimit(Command):
    """The limit is to be as this says. Answers whether it is new."""

    limit: NamedLimit
    by: By | None = None


class DeleteLimit(Command):
    """The limit is to be gone. Refused while live jobs name it, unless `detach`. Answers a `DeletedLimit`."""

    name: str
    detach: bool = False
    by: By | None = None


class DeletedLimit(Struct, frozen=True, gc=False):
    """Whether there was one, and how many live jobs named it."""

    deleted: bool
    named: int


class SetLimitOverride(Command):
    """Other numbers for one key; none: the limit's own again. Answers None."""

    name: str
    key: str
    override: Override | None = None
    by: By | None = None


class PutFairnessWeight(Command):
    """A fairness key is to have this weight, in thousandths. Answers None."""

    key: str
    weight: int
    by: By | None = None


class ResetLimitKey(Command):
    """Forget what was started of the key, and that it was to be held. Answers None."""

    name: str
    key: str
    by: By | None = None
