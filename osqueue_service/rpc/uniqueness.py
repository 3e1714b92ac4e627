"""Unique keys and sequences on the wire: what a producer asks for, and what came of it."""

from enum import IntEnum
from typing import TypeVar

from osqueue_service.limits import Limits
from osqueue_service.rpc.fields import Violations, check_name, check_number
from osqueue_service.state.unique import AfterDead, IfRunning, InSequence, OnConflict, Outcome, Scope, Unique, Until
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2

OUTCOMES: dict[Outcome, queue_pb2.SubmitOutcome.ValueType] = {
    outcome: queue_pb2.SubmitOutcome.values()[outcome] for outcome in Outcome
}

Choice = TypeVar("Choice", bound=IntEnum)

DEBOUNCED_TIMES = 10
"""How many delays a job may be put off when its producer does not say for how long."""


def read_unique(unique: job_pb2.Unique, delay_ms: int, limits: Limits, wrong: Violations) -> Unique:
    """The key and its terms; meaningless if anything was wrong. `delay_ms` is how far the job's time lies ahead."""
    key = unique.key
    check_name(key, "unique.key", limits.unique_key_chars, wrong, required=True)
    scope = _known(unique.scope, Scope, "unique.scope", wrong)
    until = _known(unique.until, Until, "unique.until", wrong)
    on_conflict = _known(unique.on_conflict, OnConflict, "unique.on_conflict", wrong)
    if_running = _known(unique.if_running, IfRunning, "unique.if_running", wrong)
    check_number(unique.ttl_ms, "unique.ttl_ms", 0, limits.unique_ttl_ms_max, wrong, " ms")
    check_number(unique.max_wait_ms, "unique.max_wait_ms", 0, limits.unique_wait_ms_max, wrong, " ms")
    if until is Until.STARTED and if_running is not IfRunning.KEEP:
        wrong.add("unique.if_running", "goes with no `until` STARTED: a job that runs does not hold such a key")
    max_wait_ms = unique.max_wait_ms
    if on_conflict is OnConflict.DEBOUNCE:
        if not delay_ms:
            wrong.add("unique.on_conflict", "is DEBOUNCE, which needs delay_ms: how long to wait for another call")
        max_wait_ms = max_wait_ms or min(DEBOUNCED_TIMES * delay_ms, limits.unique_wait_ms_max)
        if max_wait_ms < delay_ms:
            wrong.add("unique.max_wait_ms", f"is {max_wait_ms}; it must be at least delay_ms, {delay_ms} ms")
    elif max_wait_ms > 0:
        wrong.add("unique.max_wait_ms", "goes with on_conflict DEBOUNCE only")
    return Unique(key, scope, until, on_conflict, if_running, unique.ttl_ms, max_wait_ms)


def read_sequence(key: str, after_dead: int, limits: Limits, wrong: Violations) -> InSequence:
    """The sequence that a job is to have its turn in; meaningless if anything was wrong."""
    check_name(key, "sequence_key", limits.sequence_key_chars, wrong)
    return InSequence(key, _known(after_dead, AfterDead, "sequence_after_dead", wrong))


def _known(value: int, kind: type[Choice], field: str, wrong: Violations) -> Choice:
    """The choice that a number on the wire stands for."""
    if value not in kind._value2member_map_:
        names = ", ".join(f"{choice.value} {choice.name}" for choice in kind)
        wrong.add(field, f"is {value}, which this broker does not know; it must be one of {names}")
        return kind(0)
    return kind(value)


def fill_unique(unique: Unique, into: job_pb2.Unique) -> None:
    """The key and its terms as callers see them."""
    into.key = unique.key
    into.scope = job_pb2.UniqueScope.values()[unique.scope]
    into.until = job_pb2.UniqueUntil.values()[unique.until]
    into.on_conflict = job_pb2.UniqueOnConflict.values()[unique.on_conflict]
    into.if_running = job_pb2.UniqueIfRunning.values()[unique.if_running]
    into.ttl_ms = unique.ttl_ms
    into.max_wait_ms = unique.max_wait_ms
