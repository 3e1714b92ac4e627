"""A hundred thousand of whatever a queue has one of for each job: a restart has them all, in their order."""

from collections.abc import Callable

import pytest

from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.state import image
from osqueue_service.state.apply import apply
from osqueue_service.state.invariants import check, check_derived
from osqueue_service.state.model import JobSpec
from osqueue_service.state.records import Founded, Submitted
from osqueue_service.state.state import State

MANY = 100_000
BATCH = 1_000
LOOKED_AT = 50

KINDS: dict[str, Callable[[int], JobSpec]] = {
    "types": lambda number: JobSpec(f"type-{number * 7_919 % MANY}", b"1"),
    "priorities": lambda number: JobSpec("t", b"1", priority=number * 7_919 % MANY - MANY // 2),
    "keys": lambda number: JobSpec("t", b"1", idempotency_key=f"key-{number}"),
    "retentions": lambda number: JobSpec("t", b"1", retention_ms=1 + number),
    "moments": lambda number: JobSpec("t", b"1", run_at=2_000 + number * 7_919 % MANY),
}


def filled(spec: Callable[[int], JobSpec]) -> State:
    state = State()
    apply(state, Founded("salt00"), 1)
    for first in range(0, MANY, BATCH):
        specs = [spec(number) for number in range(first, first + BATCH)]
        apply(state, Submitted(first + 1, specs, key_ttl_ms=60_000), 1_000)
    return state


@pytest.mark.parametrize("kind", KINDS)
def test_a_restart_has_them_all(kind: str) -> None:
    state = filled(KINDS[kind])
    parts = image.encode(state)
    assert max(len(part) for part in parts) <= image.PART_BYTES + DEFAULT_LIMITS.payload_bytes
    again = State()
    image.load(again, parts)
    assert image.encode(again) == parts
    assert len(again.jobs) == MANY
    check(again)
    check_derived(again)
    for types in ((), ("t",), ("type-1", "type-99999")):
        expected = [job.number for job, _ in zip(state.lines.in_order(types), range(LOOKED_AT), strict=False)]
        found = [job.number for job, _ in zip(again.lines.in_order(types), range(LOOKED_AT), strict=False)]
        assert found == expected
    state.take_apart()
    again.take_apart()


def test_the_highest_priority_is_first_among_a_hundred_thousand() -> None:
    state = filled(KINDS["priorities"])
    order = [job.spec.priority for job, _ in zip(state.lines.in_order(()), range(LOOKED_AT), strict=False)]
    assert order == [MANY // 2 - 1 - place for place in range(LOOKED_AT)]
    state.take_apart()


def test_jobs_at_their_limit_are_cut_into_parts_that_a_start_accepts() -> None:
    """Six hundred waiting jobs of a mebibyte: the same object stands for all payloads, so that this takes no memory."""
    payload = bytes(DEFAULT_LIMITS.payload_bytes)
    state = State()
    apply(state, Founded("salt00"), 1)
    for first in range(0, 600, 4):
        apply(state, Submitted(first + 1, [JobSpec("big", payload) for _ in range(4)]), 1_000)
    largest = jobs = live_bytes = 0
    for part in image.Snapshot(state).parts():
        largest = max(largest, len(part))
        some = State()
        image.load(some, [part])
        jobs += len(some.jobs)
        live_bytes += some.live_bytes
        some.take_apart()
    assert largest <= image.PART_BYTES + 2 * DEFAULT_LIMITS.payload_bytes
    assert (jobs, live_bytes) == (600, state.live_bytes)
    state.take_apart()
