"""Unique keys: who holds one, what a newcomer comes to, and to whom the key goes."""

from dataclasses import replace
from typing import Any

import pytest

from osqueue_service.errors import IdempotencyConflict, InvalidRequest, OsqueueError, QueueFull, UniqueConflict
from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.state import image
from osqueue_service.state.commands import Purge, Retry, SubmitAnswer
from osqueue_service.state.invariants import check
from osqueue_service.state.model import JobSpec, MoreOfSpec, RetryPolicy, Status
from osqueue_service.state.queries.explanations import Serving, Why, explain
from osqueue_service.state.queries.filters import Filter
from osqueue_service.state.unique import IfRunning, OnConflict, Outcome, Scope, Unique, Until
from tests.core import Core, spec

KEEP, REJECT, REPLACE = OnConflict.KEEP, OnConflict.REJECT, OnConflict.REPLACE
KEEP_RUN_AT, DEBOUNCE = OnConflict.REPLACE_KEEP_RUN_AT, OnConflict.DEBOUNCE
AFTER, CANCEL = IfRunning.ENQUEUE_ONE_AFTER, IfRunning.CANCEL


def job(payload: bytes = b"{}", key: str = "k", type: str = "t", fields: Any = (), **terms: Any) -> JobSpec:
    return spec(type, payload, more=MoreOfSpec(unique=Unique(key, **terms)), **dict(fields))


class Queue(Core):
    """A core to which unique jobs are submitted; answers are (number, outcome)."""

    def put(self, *args: Any, request_id: str = "", **terms: Any) -> tuple[int, Outcome]:
        (answer,) = self.submit_specs([job(*args, **terms)], request_id=request_id)
        return self.read(answer)

    def read(self, answer: SubmitAnswer | OsqueueError) -> tuple[int, Outcome]:
        assert isinstance(answer, SubmitAnswer), answer
        return self.number(answer), answer.outcome

    def number(self, answer: SubmitAnswer) -> int:
        found = self.state.find(answer.job_id)
        number = self.state.ids.number_of(answer.job_id)
        assert number is not None and (found is None or found.number == number)
        return number

    def is_(self, number: int) -> Status:
        return self.state.jobs[number].status

    def payload(self, number: int) -> bytes:
        return self.state.jobs[number].spec.payload


@pytest.fixture
def core() -> Queue:
    return Queue()


# --- who holds a key, and how long -----------------------------------------------------------------------------------


def test_a_key_is_held_while_its_job_waits_runs_and_backs_off(core: Queue) -> None:
    assert core.put() == (1, Outcome.CREATED)
    assert core.put() == (1, Outcome.KEPT)
    lease = core.claim_one()
    assert core.put() == (1, Outcome.KEPT)
    core.fail(lease, retry_delay_ms=1_000)
    assert core.put() == (1, Outcome.KEPT)
    core.advance(1_000)
    core.sweep()
    core.complete(core.claim_one())
    assert core.put()[1] is Outcome.CREATED
    core.check_replay()


def test_an_expired_lease_does_not_free_the_key(core: Queue) -> None:
    core.put()
    core.expire(core.claim_one())
    assert core.put() == (1, Outcome.KEPT)


@pytest.mark.parametrize("end", ["complete", "die", "cancel", "purge"])
def test_every_end_frees_the_key(core: Queue, end: str) -> None:
    core.put()
    if end == "complete":
        core.complete(core.claim_one())
    elif end == "die":
        core.fail(core.claim_one(), retryable=False)
    elif end == "cancel":
        core.cancel(core.state.id_of_number(1))
    else:
        core.purge(core.state.id_of_number(1))
    assert core.put() == (2, Outcome.CREATED)


def test_a_key_belongs_to_its_type_or_to_the_queue(core: Queue) -> None:
    assert core.put(type="a") == (1, Outcome.CREATED)
    assert core.put(type="b") == (2, Outcome.CREATED)
    assert core.put(type="a", scope=Scope.QUEUE) == (3, Outcome.CREATED)
    assert core.put(type="b", scope=Scope.QUEUE) == (3, Outcome.KEPT)


def test_until_started_the_key_is_free_from_the_first_claim_on_and_for_good(core: Queue) -> None:
    core.put(until=Until.STARTED)
    core.release(core.claim_one())
    assert core.put(until=Until.STARTED) == (2, Outcome.CREATED), "the first one waits again, without the key"
    core.fail(core.claim_one(), retryable=False)
    core.retry(core.state.id_of_number(1))
    assert core.is_(1) is Status.UNCLAIMED, "its retry cannot conflict with its successor"


def test_until_succeeded_a_dead_letter_keeps_its_key(core: Queue) -> None:
    core.put(until=Until.SUCCEEDED)
    core.fail(core.claim_one(), retryable=False)
    assert core.put(until=Until.SUCCEEDED) == (1, Outcome.KEPT)
    assert core.put(on_conflict=REPLACE) == (1, Outcome.KEPT)
    with pytest.raises(UniqueConflict):
        core.put(on_conflict=REJECT)
    core.retry(core.state.id_of_number(1))
    core.complete(core.claim_one())
    assert core.put()[1] is Outcome.CREATED
    core.check_replay()


def test_a_dead_letter_that_keeps_its_key_is_not_let_go_until_it_is_purged() -> None:
    core = Queue(replace(DEFAULT_LIMITS, dead_jobs=1, dead_bytes=1))
    core.put(until=Until.SUCCEEDED)
    core.fail(core.claim_one(), retryable=False)
    core.advance(core.limits.dead_retention_ms + 1)
    core.sweep()
    assert core.is_(1) is Status.DEAD
    assert core.state.held_dead == 1
    core.purge(core.state.id_of_number(1))
    assert core.put() == (2, Outcome.CREATED)
    assert core.state.held_dead == 0


def test_no_more_jobs_may_hold_keys_beyond_death_than_there_is_room_for_dead_ones() -> None:
    core = Queue(replace(DEFAULT_LIMITS, held_dead=1))
    core.put(until=Until.SUCCEEDED)
    core.fail(core.claim_one(), retryable=False)
    with pytest.raises(QueueFull, match="held_dead"):
        core.put(key="other", until=Until.SUCCEEDED)
    assert core.put(key="other")[1] is Outcome.CREATED


def test_at_the_limit_of_keys_a_new_one_is_refused() -> None:
    core = Queue(replace(DEFAULT_LIMITS, unique_keys=2))
    core.put(key="a")
    core.put(key="b")
    with pytest.raises(QueueFull, match="unique_keys"):
        core.put(key="c")
    assert core.put(key="a") == (1, Outcome.KEPT)
    core.complete(core.claim_one())
    assert core.put(key="c")[1] is Outcome.CREATED


# --- ttl -------------------------------------------------------------------------------------------------------------


def test_with_a_ttl_the_key_outlives_a_short_job(core: Queue) -> None:
    core.put(ttl_ms=1_000)
    core.complete(core.claim_one())
    core.advance(999)
    assert core.put() == (1, Outcome.KEPT)
    assert core.put(on_conflict=REPLACE) == (1, Outcome.KEPT)
    with pytest.raises(UniqueConflict):
        core.put(on_conflict=REJECT)
    core.advance(1)
    assert core.put() == (2, Outcome.CREATED), "the window was the first holder's, and is over"
    core.check_replay()


def test_a_key_that_is_kept_survives_its_job_and_an_image(core: Queue) -> None:
    core.put(ttl_ms=10 * core.limits.default_retention_ms)
    core.complete(core.claim_one())
    core.advance(core.limits.default_retention_ms + 1)
    core.sweep()
    assert not core.state.jobs
    assert core.put() == (1, Outcome.KEPT)
    core.check_replay()
    core.advance(9 * core.limits.default_retention_ms)
    core.sweep()
    assert len(core.state.uniques) == 0, "and the sweep forgets it"
    core.check_replay()


def test_a_purge_takes_the_kept_key_along(core: Queue) -> None:
    core.put(ttl_ms=1_000)
    core.complete(core.claim_one())
    core.purge(core.state.id_of_number(1))
    assert core.put()[1] is Outcome.CREATED


# --- the holder waits ------------------------------------------------------------------------------------------------


def test_reject_names_the_holder(core: Queue) -> None:
    core.put()
    with pytest.raises(UniqueConflict) as refused:
        core.put(on_conflict=REJECT)
    assert refused.value.job_id == core.state.id_of_number(1)
    assert refused.value.job_id in refused.value.message


def test_replace_keeps_id_and_place_and_begins_anew(core: Queue) -> None:
    core.put(b"old", fields={"retry": RetryPolicy(1_000)})
    core.submit("t", b"another")
    core.fail(core.claim_one(), retry_delay_ms=0)
    assert core.job(core.state.id_of_number(1)).attempts == 1
    assert core.put(b"new", on_conflict=REPLACE) == (1, Outcome.REPLACED)
    held = core.state.jobs[1]
    assert (held.spec.payload, held.attempts, held.claims, held.spec.retry) == (b"new", 0, 1, None)
    assert [granted.number for granted in core.claim(max_jobs=2)] == [1, 2]
    core.check_replay()


def test_a_replacement_with_another_priority_or_time_takes_a_new_place(core: Queue) -> None:
    core.put()
    core.submit("t", priority=5)
    core.put(fields={"priority": 5}, on_conflict=REPLACE)
    assert [granted.number for granted in core.claim(max_jobs=2)] == [2, 1]
    core.put(key="late", fields={"run_at": core.now_ms + 1_000})
    core.submit("t")
    core.put(key="late", on_conflict=REPLACE)
    assert [granted.number for granted in core.claim(max_jobs=2)] == [5, 4]


def test_a_waiting_job_is_put_off_by_a_replacement_that_runs_later(core: Queue) -> None:
    core.put()
    core.put(fields={"run_at": core.now_ms + 1_000}, on_conflict=REPLACE)
    assert core.is_(1) is Status.SCHEDULED
    core.advance(1_000)
    core.sweep()
    assert core.is_(1) is Status.UNCLAIMED
    core.check_replay()


def test_replace_may_keep_the_time(core: Queue) -> None:
    core.put(fields={"run_at": core.now_ms + 1_000})
    core.put(b"new", fields={"run_at": core.now_ms + 9_000}, on_conflict=KEEP_RUN_AT)
    held = core.state.jobs[1]
    assert (held.status, held.due_at, held.spec.payload) == (Status.SCHEDULED, core.now_ms + 1_000, b"new")
    core.put(key="back", fields={"priority": 9})
    core.fail(core.claim_one(), retry_delay_ms=500)
    core.put(b"new", key="back", on_conflict=KEEP_RUN_AT)
    assert core.state.jobs[2].due_at == core.now_ms + 500, "a job that backs off goes on backing off"


def test_debounce_puts_off_the_job_with_every_call_but_not_for_ever(core: Queue) -> None:
    def call(payload: bytes) -> tuple[int, Outcome]:
        return core.put(payload, fields={"run_at": core.now_ms + 100}, on_conflict=DEBOUNCE, max_wait_ms=250)

    began = core.now_ms
    assert call(b"1") == (1, Outcome.CREATED)
    for payload in (b"2", b"3"):
        core.advance(90)
        assert call(payload) == (1, Outcome.DEBOUNCED)
    assert core.state.jobs[1].due_at == began + 250
    core.advance(70)
    core.sweep()
    assert core.payload(core.claim_one().number) == b"3"
    core.check_replay()


def test_a_replacement_may_not_change_what_others_go_by(core: Queue) -> None:
    core.put(type="a", scope=Scope.QUEUE)
    with pytest.raises(InvalidRequest, match="type"):
        core.put(type="b", scope=Scope.QUEUE, on_conflict=REPLACE)
    with pytest.raises(InvalidRequest, match="unique"):
        core.put(type="a", scope=Scope.QUEUE, on_conflict=REPLACE, ttl_ms=5)
    with pytest.raises(InvalidRequest, match="unique"):
        core.put(type="a", scope=Scope.QUEUE, on_conflict=REPLACE, until=Until.SUCCEEDED)


def test_a_replacement_counts_for_the_bytes_it_adds_and_needs_no_room_for_a_job() -> None:
    core = Queue(replace(DEFAULT_LIMITS, jobs=1, bytes=20))
    core.put(b"x" * 10)
    assert core.put(b"y" * 12, on_conflict=REPLACE) == (1, Outcome.REPLACED)
    with pytest.raises(QueueFull, match="bytes"):
        core.put(b"z" * 30, on_conflict=REPLACE)
    assert core.payload(1) == b"y" * 12


# --- the holder runs -------------------------------------------------------------------------------------------------


def test_reject_while_it_runs(core: Queue) -> None:
    core.put()
    core.claim_one()
    with pytest.raises(UniqueConflict):
        core.put(if_running=IfRunning.REJECT)
    assert core.put(on_conflict=REJECT) == (1, Outcome.KEPT), "on_conflict is about a holder that waits"


def test_one_waits_behind_the_one_that_runs_and_the_newest_is_it(core: Queue) -> None:
    core.put(b"1")
    lease = core.claim_one()
    assert core.put(b"2", if_running=AFTER) == (2, Outcome.QUEUED_AFTER)
    assert core.is_(2) is Status.BLOCKED
    assert core.put(b"3", if_running=AFTER) == (2, Outcome.REPLACED)
    assert core.state.live == 2
    core.complete(lease)
    assert core.is_(2) is Status.UNCLAIMED
    assert core.payload(core.claim_one().number) == b"3"
    core.check_replay()


@pytest.mark.parametrize("end", ["complete", "die", "cancel", "purge", "release cancelled"])
def test_every_end_of_the_holder_hands_the_key_over(core: Queue, end: str) -> None:
    core.put()
    lease = core.claim_one()
    core.put(if_running=AFTER)
    first = core.state.id_of_number(1)
    if end == "complete":
        core.complete(lease)
    elif end == "die":
        core.fail(lease, retryable=False)
    elif end == "cancel":
        core.fail(lease, retry_delay_ms=1_000)
        core.cancel(first)
    elif end == "purge":
        core.purge(first)
    else:
        core.cancel(first)
        core.release(lease)
    assert core.is_(2) is Status.UNCLAIMED
    assert core.put() == (2, Outcome.KEPT)
    core.check_replay()


def test_a_successor_waits_while_the_holder_backs_off_and_is_replaced_then_too(core: Queue) -> None:
    core.put(b"1")
    lease = core.claim_one()
    core.put(b"2", if_running=AFTER)
    core.fail(lease, retry_delay_ms=1_000)
    assert core.is_(2) is Status.BLOCKED
    assert core.put(b"3", if_running=AFTER) == (2, Outcome.REPLACED)
    assert core.put(b"4", on_conflict=REPLACE) == (2, Outcome.REPLACED), "the newest is the last to run"
    assert core.put(b"5") == (1, Outcome.KEPT)
    with pytest.raises(UniqueConflict):
        core.put(on_conflict=REJECT)


def test_a_successor_keeps_its_delay_and_takes_a_new_place(core: Queue) -> None:
    core.put()
    lease = core.claim_one()
    core.put(fields={"run_at": core.now_ms + 1_000}, if_running=AFTER)
    core.complete(lease)
    assert core.is_(2) is Status.SCHEDULED
    core.put(key="other")
    lease = core.claim_one()
    core.put(key="other", if_running=AFTER)
    core.submit("t")
    core.advance(10)
    core.complete(lease)
    assert [granted.number for granted in core.claim(max_jobs=2)] == [6, 5]
    core.check_replay()


def test_a_successor_waits_since_it_was_let_go(core: Queue) -> None:
    core.put()
    lease = core.claim_one()
    core.put(if_running=AFTER)
    core.advance(5_000)
    core.complete(lease)
    assert core.state.jobs[2].ready_since == core.now_ms


def test_cancel_asks_the_holder_to_stop_and_waits_until_it_has_ended(core: Queue) -> None:
    core.put(b"1")
    lease = core.claim_one()
    assert core.put(b"2", if_running=CANCEL) == (2, Outcome.CANCELLING)
    assert core.state.jobs[1].cancel_requested
    assert core.is_(2) is Status.BLOCKED
    assert core.put(b"3", if_running=CANCEL) == (2, Outcome.CANCELLING)
    core.fail(lease)
    assert core.is_(1) is Status.CANCELLED
    assert (core.is_(2), core.payload(2)) == (Status.UNCLAIMED, b"3")
    core.check_replay()


def test_a_dead_holder_keeps_its_successor_until_its_retry_succeeds(core: Queue) -> None:
    core.put(until=Until.SUCCEEDED)
    lease = core.claim_one()
    core.put(until=Until.SUCCEEDED, if_running=AFTER)
    core.fail(lease, retryable=False)
    assert core.is_(2) is Status.BLOCKED
    core.retry(core.state.id_of_number(1))
    core.complete(core.claim_one())
    assert core.is_(2) is Status.UNCLAIMED
    core.check_replay()


def test_a_successor_may_be_cancelled_and_another_come(core: Queue) -> None:
    core.put()
    core.claim_one()
    core.put(if_running=AFTER)
    core.cancel(core.state.id_of_number(2))
    assert core.put(if_running=AFTER) == (3, Outcome.QUEUED_AFTER)


def test_a_purge_of_holder_and_successor_at_once(core: Queue) -> None:
    core.put()
    core.claim_one()
    core.put(if_running=AFTER)
    core.do(Purge([core.state.id_of_number(1), core.state.id_of_number(2)]))
    assert not core.state.jobs
    assert core.put()[1] is Outcome.CREATED
    core.check_replay()


# --- repeated calls --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "outcome"),
    [
        ({}, Outcome.KEPT),
        ({"on_conflict": REPLACE}, Outcome.REPLACED),
        ({"if_running": AFTER}, Outcome.QUEUED_AFTER),
        ({"if_running": CANCEL}, Outcome.CANCELLING),
    ],
)
def test_a_repeated_call_answers_as_it_did(core: Queue, terms: dict[str, Any], outcome: Outcome) -> None:
    core.put()
    if "if_running" in terms:
        core.claim_one()
    first = core.put(request_id="r", **terms)
    assert first[1] is outcome
    core.cancel(core.state.id_of_number(1))
    assert core.put(request_id="r", **terms) == first
    core.check_replay()


def test_a_repeated_call_that_made_a_job_says_so(core: Queue) -> None:
    assert core.put(request_id="r") == (1, Outcome.CREATED) == core.put(request_id="r")


def test_an_idempotency_key_stands_for_what_its_submit_was_answered(core: Queue) -> None:
    core.put(b"1")
    keyed = {"idempotency_key": "i"}
    assert core.put(b"2", fields=keyed, on_conflict=REPLACE) == (1, Outcome.REPLACED)
    core.complete(core.claim_one())
    (again,) = core.submit_specs([job(b"2", fields=keyed)])
    assert (core.read(again), again.deduplicated) == ((1, Outcome.REPLACED), True)
    with pytest.raises(IdempotencyConflict):
        core.put(b"3", fields=keyed)
    core.check_replay()


def test_idempotency_comes_before_uniqueness(core: Queue) -> None:
    keyed = {"idempotency_key": "i"}
    core.put(fields=keyed)
    (again,) = core.submit_specs([job(fields=keyed, on_conflict=REJECT)])
    assert (core.read(again), again.deduplicated) == ((1, Outcome.CREATED), True)


# --- several in one call ---------------------------------------------------------------------------------------------


def test_in_one_call_items_apply_in_order(core: Queue) -> None:
    core.put(b"0", key="old")
    answers = core.submit_specs(
        [
            job(b"1"),
            job(b"2"),
            job(b"3", on_conflict=REPLACE),
            job(b"4", key="old", on_conflict=REPLACE),
            job(b"5", key="old", on_conflict=REPLACE, fields={"priority": 3}),
        ]
    )
    assert [core.read(answer) for answer in answers] == [
        (2, Outcome.CREATED), (2, Outcome.KEPT), (2, Outcome.REPLACED), (1, Outcome.REPLACED), (1, Outcome.REPLACED),
    ]  # fmt: skip
    assert (core.payload(1), core.payload(2)) == (b"5", b"3")
    core.check_replay()


def test_an_atomic_call_that_conflicts_with_itself_changes_nothing(core: Queue) -> None:
    with pytest.raises(UniqueConflict):
        core.submit_specs([job(b"1"), job(b"2", on_conflict=REJECT)])
    assert not core.state.jobs
    first, second = core.submit_specs([job(b"1"), job(b"2", on_conflict=REJECT)], atomic=False)
    assert core.read(first) == (1, Outcome.CREATED)
    assert isinstance(second, UniqueConflict) and second.job_id == core.state.id_of_number(1)


def test_two_successors_in_one_call_are_one(core: Queue) -> None:
    core.put()
    core.claim_one()
    answers = core.submit_specs(
        [job(b"1", if_running=AFTER, fields={"idempotency_key": "i1"}), job(b"2", if_running=AFTER)]
    )
    assert [core.read(answer) for answer in answers] == [(2, Outcome.QUEUED_AFTER), (2, Outcome.REPLACED)]
    (again,) = core.submit_specs([job(b"1", fields={"idempotency_key": "i1"})])
    assert (core.read(again), again.deduplicated) == ((2, Outcome.QUEUED_AFTER), True)
    assert core.payload(2) == b"2"
    core.check_replay()


# --- operators -------------------------------------------------------------------------------------------------------


def test_a_dead_job_whose_key_is_taken_is_not_retried(core: Queue) -> None:
    for _ in range(2):
        core.put()
        core.fail(core.claim_one(), retryable=False)
    ids = [core.state.id_of_number(number) for number in (1, 2)]
    first, second = core.do(Retry(ids))
    assert first is None
    assert isinstance(second, UniqueConflict) and second.job_id == ids[0]
    assert (core.is_(1), core.is_(2)) == (Status.UNCLAIMED, Status.DEAD)
    core.check_replay()


def test_a_dead_job_whose_key_is_kept_for_another_is_not_retried(core: Queue) -> None:
    core.put(ttl_ms=1)
    core.fail(core.claim_one(), retryable=False)
    core.advance(1)
    core.put(ttl_ms=1_000)
    core.complete(core.claim_one())
    with pytest.raises(UniqueConflict):
        core.retry(core.state.id_of_number(1))
    core.advance(1_000)
    core.retry(core.state.id_of_number(1))
    assert core.put() == (1, Outcome.KEPT)


def test_a_blocked_job_says_behind_which_it_waits(core: Queue) -> None:
    core.put()
    core.claim_one()
    core.put(if_running=AFTER)
    why = explain(core.state, core.state.jobs[2], lambda name: Serving(1, False))
    assert why.reasons == [Why.UNIQUE_HELD, Why.BLOCKED]
    assert (why.blocked_by, why.unique_key) == ([core.state.id_of_number(1)], "k")
    assert core.state.id_of_number(1) in why.message


def test_jobs_are_found_by_their_key(core: Queue) -> None:
    core.put(type="a")
    core.put(type="b")
    core.claim_one(types=["a"])
    core.put(type="a", if_running=AFTER)
    core.put(key="other")

    def found(*statuses: Status, **terms: Any) -> list[int]:
        wanted = Filter(statuses or tuple(Status), unique_key="k", **terms)
        return [job.number for job in wanted.candidates(core.state, 0) if wanted.matches(job)]

    assert found() == [1, 2, 3]
    assert found(types=frozenset("a")) == [1, 3]
    assert found(Status.BLOCKED) == [3]


# --- images ----------------------------------------------------------------------------------------------------------


def test_a_snapshot_of_one_moment_holds_keys_and_successors_whatever_happens_meanwhile(core: Queue) -> None:
    for key in "abc":
        core.put(key=key, ttl_ms=1_000)
    leases = core.claim(max_jobs=2)
    core.put(key="a", if_running=AFTER)
    before = image.encode(core.state)
    parts = image.Snapshot(core.state).parts()
    written = [next(parts)]
    for lease in leases:
        core.complete(lease)
    core.put(b"new", key="c", on_conflict=REPLACE, ttl_ms=1_000)
    core.advance(5_000)
    core.sweep()
    written += parts
    loaded = core.rebuilt(len(core.log), written)
    check(loaded)
    assert image.encode(loaded) == before
