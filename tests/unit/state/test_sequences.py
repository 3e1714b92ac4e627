"""Sequences: one after the other, in the order of submission, whatever happens to a job."""

from dataclasses import replace
from typing import Any

import pytest

from osqueue_service.errors import InvalidRequest, QueueFull
from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.state import image
from osqueue_service.state.commands import Complete, CompleteItem
from osqueue_service.state.invariants import check
from osqueue_service.state.model import JobSpec, MoreOfSpec, Status
from osqueue_service.state.queries.explanations import Serving, Why, explain
from osqueue_service.state.queries.filters import Filter
from osqueue_service.state.unique import AfterDead, IfRunning, InSequence, OnConflict, Outcome, Scope, Unique
from tests.core import Core, spec

WAITING, BLOCKED = Status.UNCLAIMED, Status.BLOCKED


def job(key: str = "s", type: str = "t", after_dead: AfterDead = AfterDead.HOLD, **fields: Any) -> JobSpec:
    unique = fields.pop("unique", None)
    return spec(type, more=MoreOfSpec(unique=unique, sequence=InSequence(key, after_dead)), **fields)


class Queue(Core):
    """A core to which jobs of sequences are submitted; jobs are named by their numbers."""

    def put(self, *args: Any, **fields: Any) -> int:
        (answer,) = self.submit_specs([job(*args, **fields)])
        return self.state.get(answer.job_id).number

    def is_(self, number: int) -> Status:
        return self.state.jobs[number].status

    def all(self) -> list[Status]:
        return [job.status for job in self.state.jobs.values()]

    def id(self, number: int) -> str:
        return self.state.id_of_number(number)


@pytest.fixture
def core() -> Queue:
    return Queue()


def test_only_the_first_is_in_a_line_whatever_types_and_priorities_say(core: Queue) -> None:
    core.put(type="a")
    core.put(type="b", priority=9)
    core.put(type="a")
    assert core.all() == [WAITING, BLOCKED, BLOCKED]
    for number in (1, 2, 3):
        lease = core.claim_one()
        assert lease.number == number
        assert not core.claim()
        core.complete(lease)
    core.check_replay()


def test_other_sequences_and_jobs_of_none_are_not_held_up(core: Queue) -> None:
    core.put("a")
    core.put("b")
    core.submit("t")
    assert core.all() == [WAITING] * 3


@pytest.mark.parametrize("how", ["release", "back off", "expire", "delay"])
def test_a_head_that_does_not_run_holds_the_others(core: Queue, how: str) -> None:
    core.put(run_at=core.now_ms + 1_000 if how == "delay" else 0)
    core.put()
    if how != "delay":
        lease = core.claim_one()
        if how == "release":
            core.release(lease)
        elif how == "back off":
            core.fail(lease, retry_delay_ms=1_000)
        else:
            core.expire(lease)
    assert core.is_(2) is BLOCKED
    core.advance(1_000)
    core.sweep()
    assert core.claim_one().number == 1
    core.check_replay()


@pytest.mark.parametrize("how", ["complete", "cancel", "purge", "skip"])
def test_with_the_end_of_the_head_it_is_the_next_ones_turn(core: Queue, how: str) -> None:
    core.put(after_dead=AfterDead.SKIP)
    core.put()
    core.put()
    lease = core.claim_one()
    core.advance(500)
    if how == "complete":
        core.complete(lease)
    elif how == "purge":
        core.purge(core.id(1))
    elif how == "skip":
        core.fail(lease, retryable=False)
    else:
        core.cancel(core.id(1))
        core.release(lease)
    assert (core.is_(2), core.is_(3)) == (WAITING, BLOCKED)
    assert core.state.jobs[2].ready_since == core.now_ms
    core.check_replay()


def test_a_dead_head_holds_its_sequence_and_a_retry_keeps_its_place(core: Queue) -> None:
    core.put()
    core.put()
    core.fail(core.claim_one(), retryable=False)
    core.advance(core.limits.dead_retention_ms + 1)
    core.sweep()
    assert (core.is_(1), core.is_(2)) == (Status.DEAD, BLOCKED), "and it is kept"
    core.retry(core.id(1))
    assert (core.is_(1), core.is_(2)) == (WAITING, BLOCKED)
    core.fail(core.claim_one(), retryable=False)
    core.purge(core.id(1))
    assert core.is_(2) is WAITING
    core.check_replay()


def test_a_dead_job_that_was_skipped_is_retried_at_the_end(core: Queue) -> None:
    core.put(after_dead=AfterDead.SKIP)
    core.put()
    core.put()
    core.fail(core.claim_one(), retryable=False)
    core.retry(core.id(1))
    assert core.all() == [BLOCKED, WAITING, BLOCKED]
    assert [_finish(core) for _ in range(3)] == [2, 3, 1]
    core.check_replay()


def _finish(core: Queue) -> int:
    lease = core.claim_one()
    core.complete(lease)
    return lease.number


def test_a_job_in_the_middle_may_be_cancelled(core: Queue) -> None:
    for _ in range(3):
        core.put()
    core.cancel(core.id(2))
    assert [_finish(core), _finish(core)] == [1, 3]
    core.check_replay()


def test_a_delay_counts_from_its_turn_on(core: Queue) -> None:
    core.put()
    core.put(run_at=core.now_ms + 1_000)
    core.complete(core.claim_one())
    assert (core.is_(2), core.state.jobs[2].due_at) == (Status.SCHEDULED, core.now_ms + 1_000)
    core.put()
    assert core.is_(4) is BLOCKED, "a delayed head holds"


def test_several_end_in_one_commit(core: Queue) -> None:
    for key in "aabb":
        core.put(key)
    leases = core.claim(max_jobs=4)
    assert [lease.number for lease in leases] == [1, 3]
    core.expire(*leases)
    again = core.claim(max_jobs=4)
    core.do(Complete([CompleteItem(lease.job_id, "w", lease.token) for lease in again]))
    assert (core.is_(2), core.is_(4)) == (WAITING, WAITING)
    core.check_replay()


def test_a_sweep_that_ends_heads_and_promotes_others(core: Queue) -> None:
    core.put(timeout_ms=100, max_attempts=1, after_dead=AfterDead.SKIP)
    core.put()
    core.claim_one()
    core.submit("t", run_at=core.now_ms + 100)
    core.advance(100)
    core.sweep()
    assert core.all() == [Status.DEAD, WAITING, WAITING]
    core.check_replay()


def test_a_unique_successor_joins_its_sequence_when_it_has_the_key(core: Queue) -> None:
    unique = Unique("k", if_running=IfRunning.ENQUEUE_ONE_AFTER)
    core.put(unique=unique)
    lease = core.claim_one()
    core.put(unique=unique)
    core.put()
    assert core.all()[1:] == [BLOCKED, BLOCKED]
    core.complete(lease)
    assert (core.is_(2), core.is_(3)) == (BLOCKED, WAITING), "it is behind the one that was in the sequence before it"
    assert [_finish(core), _finish(core)] == [3, 2]
    core.check_replay()


def test_a_replacement_belongs_to_the_same_sequence(core: Queue) -> None:
    unique = Unique("k", Scope.QUEUE, on_conflict=OnConflict.REPLACE)
    core.put()
    core.put(unique=unique)
    with pytest.raises(InvalidRequest, match="sequence_key"):
        core.put("other", unique=unique)
    (answer,) = core.submit_specs([job(payload=b"new", unique=unique)])
    assert (answer.outcome, core.is_(2)) == (Outcome.REPLACED, BLOCKED)
    core.complete(core.claim_one())
    assert core.claim_one().spec.payload == b"new"
    core.check_replay()


def test_a_holder_that_its_sequence_blocks_was_created_and_not_queued_behind_its_key(core: Queue) -> None:
    core.put()
    for _ in range(2):
        (answer,) = core.submit_specs([job(unique=Unique("k"), idempotency_key="i")])
        assert answer.outcome is Outcome.CREATED


def test_it_says_behind_which_job_it_waits_and_how_many_come_first(core: Queue) -> None:
    for _ in range(3):
        core.put()
    why = explain(core.state, core.state.jobs[3], lambda name: Serving(0, False))
    assert why.reasons == [Why.SEQUENCE, Why.BLOCKED, Why.NO_WORKER]
    assert (why.blocked_by, why.sequence_key, why.sequence_ahead) == ([core.id(2)], "s", 2)
    assert core.id(1) in why.message and "'t'" in why.message, "nobody takes what stands at the head"


def test_the_jobs_of_a_sequence_are_found_by_its_key(core: Queue) -> None:
    core.put("other")
    for _ in range(3):
        core.put()
    core.complete(core.claim(max_jobs=2)[1])
    wanted = Filter(tuple(Status), sequence_key="s")
    assert [job.number for job in wanted.candidates(core.state, 0) if wanted.matches(job)] == [3, 4]


def test_no_more_jobs_may_hold_sequences_than_there_is_room_for_dead_ones() -> None:
    core = Queue(replace(DEFAULT_LIMITS, held_dead=1))
    core.put()
    core.fail(core.claim_one(), retryable=False)
    with pytest.raises(QueueFull, match="held_dead"):
        core.put("other")
    core.put("other", after_dead=AfterDead.SKIP)


def test_a_snapshot_of_one_moment_holds_sequences_whatever_happens_meanwhile(core: Queue) -> None:
    for key in "aabbab":
        core.put(key)
    lease = core.claim_one()
    before = image.encode(core.state)
    parts = image.Snapshot(core.state).parts()
    written = [next(parts)]
    core.complete(lease)
    core.cancel(core.id(5))
    written += parts
    loaded = core.rebuilt(len(core.log), written)
    check(loaded)
    assert image.encode(loaded) == before
