"""The pure core with a log beside it: what tests drive it through.

Every command goes through the bytes that a real commit has, and after each of its records
the state's invariants are checked. `rebuilt` replays those bytes, as a recovery does.
"""

import itertools
from collections.abc import Sequence
from typing import Any

from osqueue_service.engine.codec import encode_commit, replay
from osqueue_service.errors import OsqueueError
from osqueue_service.limits import DEFAULT_LIMITS, Limits
from osqueue_service.state import image
from osqueue_service.state.apply import apply
from osqueue_service.state.commands import (
    Cancel,
    Claim,
    Command,
    Complete,
    CompleteItem,
    DeleteLimit,
    Fail,
    FailAnswer,
    FailItem,
    Granted,
    PauseTypes,
    Purge,
    PutFairnessWeight,
    PutLimit,
    Release,
    ReleaseItem,
    ResetLimitKey,
    ResumeTypes,
    Retry,
    SetLimitOverride,
    Submit,
    SubmitAnswer,
    Sweep,
)
from osqueue_service.state.invariants import check, check_derived
from osqueue_service.state.machine import decide, decide_effects, effects_of
from osqueue_service.state.model import Job, JobSpec, LimitUse, MoreOfSpec, Status
from osqueue_service.state.named_limits import NamedLimit, Override, Rate
from osqueue_service.state.records import By, Founded
from osqueue_service.state.state import State
from osqueue_service.state.unique import IfRunning, Unique

SALT = "salt00"
_SMALL = 50
"""Jobs up to which all that follows from them is computed anew after each record; a larger queue is looked at after
each command."""
START_MS = 1_000_000


def spec(type: str = "", payload: bytes = b"{}", **fields: Any) -> JobSpec:
    return JobSpec(type, payload, **fields)


def under(*uses: tuple[str, str] | tuple[str, str, int]) -> MoreOfSpec:
    """What a job that names these limits says: limit, key and, unless it is 1, cost."""
    return MoreOfSpec(limits=tuple(LimitUse(*use) for use in uses))


class Core:
    """A queue in memory at a time that only `advance` moves."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS, *, now_ms: int = START_MS) -> None:
        self.limits = limits
        self.now_ms = now_ms
        self.forget = True
        """As in the engine: while a snapshot is being read, sweeps forget no keys."""
        self.state = State()
        self.log: list[bytes] = []
        self._tokens = itertools.count(1)
        founded = Founded(SALT)
        apply(self.state, founded, now_ms)
        self.log.append(encode_commit(now_ms, [founded]))

    def do(self, command: Command) -> Any:
        """Execute one command as a commit of its own; its answer, or the error that refuses it."""
        records, answer = decide(self.state, command, self.now_ms, self.limits)
        step, effects = records or decide_effects(self.state, self.limits, self.limits.sweep_jobs), 0
        if not records:
            records, effects = list(step), effects_of(step)
        while step:
            for record in step:
                apply(self.state, record, self.now_ms)
                if len(self.state.jobs) <= _SMALL:
                    check(self.state)
                    check_derived(self.state)
            step = decide_effects(self.state, self.limits, self.limits.sweep_jobs - effects)
            effects += effects_of(step)
            records += step
        if len(self.state.jobs) > _SMALL:
            check(self.state)
        if records:
            self.log.append(encode_commit(self.now_ms, records))
        return answer

    def advance(self, by_ms: int) -> None:
        self.now_ms += by_ms

    # --- the verbs, one item at a time; errors are raised --------------------------------------------------------

    def submit(self, type: str = "", payload: bytes = b"{}", **fields: Any) -> str:
        return self.submit_specs([spec(type, payload, **fields)])[0].job_id

    def submit_specs(
        self, specs: Sequence[JobSpec], *, atomic: bool = True, request_id: str = ""
    ) -> list[SubmitAnswer]:
        return self.do(Submit(specs, atomic, request_id))

    def claim(self, worker_id: str = "w", max_jobs: int = 1, **fields: Any) -> list[Granted]:
        tokens = [f"token-{next(self._tokens)}" for _ in range(max_jobs)]
        return self.do(Claim(worker_id, max_jobs=max_jobs, tokens=tokens, **fields))

    def claim_one(self, worker_id: str = "w", **fields: Any) -> Granted:
        (granted,) = self.claim(worker_id, **fields)
        return granted

    def complete(
        self, granted: Granted, worker_id: str = "w", result: bytes | None = None, follow_ups: Sequence[JobSpec] = ()
    ) -> None:
        only(self.do(Complete([CompleteItem(granted.job_id, worker_id, granted.token, result, follow_ups)])))

    def fail(self, granted: Granted, worker_id: str = "w", **fields: Any) -> FailAnswer:
        answer: FailAnswer = only(self.do(Fail([FailItem(granted.job_id, worker_id, granted.token, **fields)])))
        return answer

    def release(self, granted: Granted, worker_id: str = "w") -> None:
        only(self.do(Release([ReleaseItem(granted.job_id, worker_id, granted.token)])))

    def expire(self, *leases: Granted) -> None:
        """No heartbeat came for these leases."""
        self.do(Sweep([(lease.number, lease.token) for lease in leases], forget=self.forget))

    def sweep(self, limit: int = 2_000) -> None:
        self.do(Sweep(limit=limit, forget=self.forget))

    def cancel(self, job_id: str, by: By | None = None) -> Status:
        status: Status = only(self.do(Cancel([job_id], by)))
        return status

    def retry(self, job_id: str) -> None:
        only(self.do(Retry([job_id])))

    def purge(self, job_id: str) -> None:
        only(self.do(Purge([job_id])))

    def pause(self, *types: str) -> list[str]:
        paused: list[str] = self.do(PauseTypes(types))
        return paused

    def resume(self, *types: str) -> list[str]:
        paused: list[str] = self.do(ResumeTypes(types))
        return paused

    def put_limit(self, name: str, max_running: int = -1, rate: Rate | None = None, **fields: Any) -> bool:
        new: bool = self.do(PutLimit(NamedLimit(name, max_running, rate, **fields)))
        return new

    def weigh(self, key: str, weight: int) -> None:
        """In thousandths."""
        self.do(PutFairnessWeight(key, weight))

    def delete_limit(self, name: str, *, detach: bool = False) -> int:
        return int(self.do(DeleteLimit(name, detach)).named)

    def override(self, name: str, key: str, max_running: int = -1, rate: Rate | None = None, until: int = 0) -> None:
        self.do(SetLimitOverride(name, key, Override(max_running, rate, until)))

    def take_back(self, name: str, key: str) -> None:
        self.do(SetLimitOverride(name, key))

    def reset_key(self, name: str, key: str = "") -> None:
        self.do(ResetLimitKey(name, key))

    # --- looking ---------------------------------------------------------------------------------------------------

    def job(self, job_id: str) -> Job:
        return self.state.get(job_id)

    def status(self, job_id: str) -> Status:
        return self.state.get(job_id).status

    def order(self, types: Sequence[str] = ()) -> list[str]:
        """The ids of the waiting jobs as they would be claimed."""
        return [self.state.job_id(job) for job in self.state.lines.in_order(types)]

    def rebuilt(self, after: int = 0, parts: Sequence[bytes] = ()) -> State:
        """What a recovery makes of an image and the commits after the first `after`."""
        state = State()
        image.load(state, parts)
        for body in self.log[after:]:
            replay(state, body)
        return state

    def check_replay(self) -> None:
        """The log alone rebuilds the same bytes, and they load into an equal state."""
        parts = image.encode(self.state)
        assert image.encode(self.rebuilt()) == parts, "a replay of the log differs from the state that wrote it"
        loaded = self.rebuilt(len(self.log), parts)
        check(loaded)
        assert image.encode(loaded) == parts, "an image loads into another state"


def submit_blocked(core: Core, type: str = "") -> str:
    """Two jobs with one unique key: one that waits, and one that is blocked behind it, whose id is returned."""
    unique = Unique("one", if_running=IfRunning.ENQUEUE_ONE_AFTER)
    more = MoreOfSpec(unique=unique)
    core.submit(type, more=more)
    lease = core.claim_one(types=[type])
    blocked = core.submit(type, more=more)
    core.release(lease)
    return blocked


def only(answers: Sequence[Any]) -> Any:
    """The answer of a command with one item; its error is raised."""
    (answer,) = answers
    if isinstance(answer, OsqueueError):
        raise answer
    return answer
