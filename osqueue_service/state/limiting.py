"""Deciding what changes limits, and which limits a new job is under."""

from msgspec.structs import replace

from osqueue_service.errors import InvalidRequest, QueueFull
from osqueue_service.limits import Limits
from osqueue_service.state.commands import DeletedLimit, DeleteLimit, PutLimit, ResetLimitKey, SetLimitOverride
from osqueue_service.state.limit_table import OPEN, LimitKey, use_of
from osqueue_service.state.model import JobSpec, LimitUse, MoreOfSpec
from osqueue_service.state.named_limits import AtLimit, Meter, NamedLimit
from osqueue_service.state.records import AnyRecord, LimitDeleted, LimitOverridden, LimitPut, Metered
from osqueue_service.state.state import State


def decide_put(state: State, command: PutLimit, now_ms: int, limits: Limits) -> tuple[list[AnyRecord], bool]:
    """Numbers may change at any time. What keys are taken from may not: jobs that wait have theirs already."""
    new, old = command.limit, state.limits.get(command.limit.name)
    if old is None:
        if sum(1 for _ in state.limits.defined()) >= limits.named_limits:
            raise QueueFull(
                f"there are {limits.named_limits:,} limits, which is as many as there may be (named_limits): delete "
                "those that no job names, or tell apart by key what has the same numbers"
            )
        return [LimitPut(new, command.by)], True
    if old.per_key != new.per_key:
        raise InvalidRequest.field("per_key", f"it cannot change: make a new limit beside {new.name!r}")
    before = old.types or {}
    for name, field in (new.types or {}).items():
        if before.get(name, field) != field:
            raise InvalidRequest.field(
                "types", f"the field that the keys of {name!r} are taken from cannot change: make a new limit"
            )
    return ([LimitPut(new, command.by)] if new != old else []), False


def decide_delete(
    state: State, command: DeleteLimit, now_ms: int, limits: Limits
) -> tuple[list[AnyRecord], DeletedLimit]:
    """A limit that jobs name is deleted only by who says that they shall run without it. One that is not there is
    gone."""
    if state.limits.get(command.name) is None:
        return [], DeletedLimit(False, 0)
    named = state.limits.families[command.name].used
    if named and not command.detach:
        raise InvalidRequest.field(
            "name",
            f"{named:,} live jobs are under {command.name!r}: wait until they have ended, or set detach, and they run "
            "without it",
        )
    return [LimitDeleted(command.name, command.by)], DeletedLimit(True, named)


def decide_override(
    state: State, command: SetLimitOverride, now_ms: int, limits: Limits
) -> tuple[list[AnyRecord], None]:
    """Setting what is set changes nothing."""
    limit = _existing(state, command.name)
    _check_key(limit, command.key, "key")
    known = state.limits.known(command.name, command.key)
    override = command.override
    if (known.override if known is not None else None) == override:
        return [], None
    if override is not None:
        if override.expires_at and override.expires_at <= now_ms:
            raise InvalidRequest.field("expires_at", "it has passed already")
        if (known is None or known.override is None) and state.limits.overrides >= limits.limit_overrides:
            raise QueueFull(
                f"{limits.limit_overrides:,} keys have numbers of their own, which is as many as may "
                "(limit_overrides): take some back, or let them expire"
            )
    return [LimitOverridden(command.name, command.key, override, command.by)], None


def decide_reset(state: State, command: ResetLimitKey, now_ms: int, limits: Limits) -> tuple[list[AnyRecord], None]:
    """What runs still counts: only what was started before is forgotten."""
    _check_key(_existing(state, command.name), command.key, "key")
    known = state.limits.known(command.name, command.key)
    if known is None or not (known.arrival_ns or known.held_until):
        return [], None
    return [Metered([Meter(command.name, command.key, 0)], command.by)], None


def with_limits(state: State, spec: JobSpec, limits: Limits) -> JobSpec:
    """The job with the limits that it is under: those it names, and those that go with its type. Refused where one is
    unknown, or where it could never run."""
    uses = list(spec.limits)
    for limit in state.limits.attached(spec.type):
        if all(use.limit != limit.name for use in uses):
            uses.append(use_of(limit, spec))
    if len(uses) > limits.job_limits:
        raise InvalidRequest.field(
            "limits", f"the job would be under {len(uses)} limits, those of its type counted; at most "
            f"{limits.job_limits} are allowed"
        )  # fmt: skip
    for position, use in enumerate(uses):
        where = f"limits[{position}]"
        found = state.limits.get(use.limit)
        if found is None:
            raise InvalidRequest.field(
                f"{where}.limit", f"there is no limit {use.limit!r}: put it first, or correct it"
            )
        if len(use.key.encode()) > limits.limit_key_bytes:
            raise InvalidRequest.field(
                f"{where}.key",
                f"it is longer than {limits.limit_key_bytes} bytes: {use.limit!r} takes it from metadata",
            )
        _check_key(found, use.key, f"{where}.key")
        _check_cost(found, state.limits.known(use.limit, use.key), use.cost, where)
    if tuple(uses) == spec.limits:
        return spec
    more = replace(spec.more, limits=tuple(uses)) if spec.more is not None else MoreOfSpec(limits=tuple(uses))
    return replace(spec, more=more)


class Newest:
    """Which of the jobs that become claimable at one moment have to go, because a limit of theirs cancels the newest.
    Each sees those before it."""

    def __init__(self, state: State, now_ms: int) -> None:
        self._limits = state.limits
        self._now_ms = now_ms
        self._queued: dict[tuple[str, str], int] = {}

    def has_to_go(self, spec: JobSpec) -> bool:
        """Whether such a limit has no room for the job beside what runs and what waits; if not, it waits, too."""
        for use in spec.limits:
            limit = self._limits.get(use.limit)
            if limit is not None and limit.at_limit is AtLimit.CANCEL_NEWEST and not self._has_room(use):
                return True
        for use in spec.limits:
            self._queued[use.limit, use.key] = self._queued.get((use.limit, use.key), 0) + use.cost
        return False

    def _has_room(self, use: LimitUse) -> bool:
        # A key of which nothing is known is asked as one that was just made, and not kept.
        known = self._limits.known(use.limit, use.key) or LimitKey(self._limits.families[use.limit], use.key)
        queued = known.queued + self._queued.get((use.limit, use.key), 0)
        paid_ns = known.paid_after(queued, self._now_ms) if queued else 0
        return known.opens(use.cost, self._now_ms, queued, paid_ns) == OPEN


def _existing(state: State, name: str) -> NamedLimit:
    limit = state.limits.get(name)
    if limit is None:
        raise InvalidRequest.field("name", f"there is no limit {name!r}")
    return limit


def _check_key(limit: NamedLimit, key: str, field: str) -> None:
    if key and not limit.per_key:
        raise InvalidRequest.field(field, f"the limit {limit.name!r} has no keys (per_key is not set): leave it out")


def _check_cost(limit: NamedLimit, known: LimitKey | None, cost: int, where: str) -> None:
    """A job that costs more than there ever is would never run."""
    most = known.max_running if known is not None else limit.max_running
    rate = known.rate if known is not None else limit.rate
    if 0 < most < cost:
        raise InvalidRequest.field(
            f"{where}.cost", f"it is {cost:,}, and {limit.name!r} lets {most:,} run at a time: the job would never run"
        )
    if rate is not None and rate.burst < cost:
        raise InvalidRequest.field(
            f"{where}.cost",
            f"it is {cost:,}, and {limit.name!r} lets {rate.burst:,} start at once (rate.burst): the job would never "
            "run",
        )
