"""What time does to a queue: expiry, timeouts, promotion, eviction, forgetting."""

from dataclasses import replace

import pytest

from osqueue_service.limits import DAY_MS, DEFAULT_LIMITS, HOUR_MS
from osqueue_service.state import due as due_table
from osqueue_service.state.commands import PutSchedule, Sweep
from osqueue_service.state.due import LET_GO, ROWS
from osqueue_service.state.model import Ending, RetryPolicy, Status
from osqueue_service.state.records import Cancelled
from osqueue_service.state.schedules import Missed, Overlap, ScheduleSpec
from tests.core import Core, spec


def due(core: Core) -> bool:
    moments = [at for row in ROWS if (at := row.next_ms(core.state)) is not None]
    return min(moments, default=core.now_ms + 1) <= core.now_ms or any(
        row.over(core.state, core.limits) for row in ROWS
    )


class TestExpiry:
    def test_the_job_waits_again_at_once_and_the_attempt_counts(self):
        core = Core()
        job_id = core.submit(retry=RetryPolicy(initial_ms=1_000))
        core.expire(core.claim_one())
        job = core.job(job_id)
        assert (job.status, job.attempts) == (Status.UNCLAIMED, 1)
        assert (job.history[0].ending, job.history[0].error_type) == (Ending.EXPIRED, "EXPIRED")
        core.check_replay()

    def test_the_last_attempt_makes_it_dead(self):
        core = Core()
        job_id = core.submit(max_attempts=1)
        core.expire(core.claim_one())
        job = core.job(job_id)
        assert job.status is Status.DEAD and "heartbeat" in job.history[0].error_message

    def test_an_expiry_noticed_too_late_changes_nothing(self):
        core = Core()
        core.submit()
        old = core.claim_one()
        core.release(old)
        new = core.claim_one()
        core.expire(old)
        core.complete(new)


class TestTimeouts:
    def test_an_attempt_that_ran_too_long_backs_off_like_a_failure(self):
        core = Core()
        job_id = core.submit(timeout_ms=50, retry=RetryPolicy(initial_ms=100, jitter=0.0))
        core.claim_one()
        core.advance(49)
        assert not due(core)
        core.advance(1)
        assert due(core)
        core.sweep()
        job = core.job(job_id)
        assert (job.status, job.due_at, job.attempts) == (Status.SCHEDULED, core.now_ms + 100, 1)
        assert job.history[0].ending is Ending.TIMED_OUT
        core.check_replay()

    def test_an_attempt_that_both_expired_and_timed_out_timed_out(self):
        core = Core()
        job_id = core.submit(timeout_ms=50)
        granted = core.claim_one()
        core.advance(50)
        core.expire(granted)
        assert [attempt.ending for attempt in core.job(job_id).history] == [Ending.TIMED_OUT]

    def test_it_runs_from_each_claim(self):
        core = Core()
        core.submit(timeout_ms=50)
        core.advance(40)
        core.release(core.claim_one())
        core.advance(40)
        granted = core.claim_one()
        core.advance(49)
        core.sweep()
        core.complete(granted)
        assert core.state.timeouts.next_ms() is None


def test_due_jobs_are_promoted_in_the_order_of_their_moments_behind_those_that_wait():
    core = Core()
    late, soon = core.submit(run_at=core.now_ms + 20), core.submit(run_at=core.now_ms + 10)
    waiting = core.submit()
    core.advance(20)
    core.sweep()
    assert core.order() == [waiting, soon, late]
    core.check_replay()


class TestEviction:
    @pytest.mark.parametrize(
        ("end", "kept_ms"),
        [("complete", HOUR_MS), ("cancel", HOUR_MS), ("die", 14 * DAY_MS)],
    )
    def test_a_finished_job_is_readable_for_its_retention(self, end, kept_ms):
        core = Core()
        job_id = core.submit()
        if end == "cancel":
            core.cancel(job_id)
        elif end == "complete":
            core.complete(core.claim_one())
        else:
            core.fail(core.claim_one(), retryable=False)
        core.advance(kept_ms - 1)
        core.sweep()
        assert core.job(job_id).status.finished
        core.advance(1)
        core.sweep()
        assert core.state.find(job_id) is None
        core.check_replay()

    def test_the_oldest_above_the_cap_go_first(self):
        core = Core(replace(DEFAULT_LIMITS, finished_jobs=2))
        jobs = [core.submit() for _ in range(5)]
        for _ in jobs:
            core.complete(core.claim_one())
            core.advance(1)
        assert due(core)
        core.sweep()
        assert [core.state.find(job_id) is None for job_id in jobs] == [True, True, True, False, False]
        assert core.state.counters.evicted == 3
        assert not due(core)

    def test_the_oldest_above_the_cap_of_bytes_go_first(self):
        core = Core(replace(DEFAULT_LIMITS, finished_bytes=25))
        jobs = [core.submit(payload=b"") for _ in range(5)]
        for _ in jobs:
            core.complete(core.claim_one(), result=b"x" * 10)
        core.sweep()
        assert [core.state.find(job_id) is None for job_id in jobs] == [True, True, True, False, False]

    @pytest.mark.parametrize("cap", ["dead_jobs", "dead_bytes"])
    def test_dead_letters_have_caps_of_their_own(self, cap):
        core = Core(replace(DEFAULT_LIMITS, **{cap: 2}, finished_jobs=0, finished_bytes=0))
        jobs = [core.submit(payload=b"x") for _ in range(3)]
        for _ in jobs:
            core.fail(core.claim_one(), retryable=False)
        core.sweep()
        assert [core.state.find(job_id) is None for job_id in jobs] == [True, False, False]
        assert core.state.counters.dead_evicted == 1

    @pytest.mark.parametrize(("room", "gone"), [(33, 0), (32, 1), (11, 2), (10, 3)])
    def test_promises_give_way_to_memory_alone_and_the_next_to_leave_goes_first(self, room, gone):
        core = Core(replace(DEFAULT_LIMITS, promised_bytes=1, kept_promises_bytes=room))
        jobs = [core.submit(payload=b"x", retention_ms=100 * (3 - number)) for number in range(3)]
        for _ in jobs:
            core.complete(core.claim_one(), result=b"x" * 10)
        assert due(core) is bool(gone)
        core.sweep()
        assert [core.state.find(job_id) is None for job_id in jobs] == [number >= 3 - gone for number in range(3)]
        assert core.state.counters.evicted == gone
        core.check_replay()

    def test_a_promise_is_never_cut_short(self):
        core = Core(replace(DEFAULT_LIMITS, finished_jobs=0, finished_bytes=0, dead_jobs=0, dead_bytes=0))
        kept, dead = core.submit(retention_ms=500), core.submit(retention_ms=500)
        core.submit()
        core.complete(core.claim_one(), result=b"x" * 100)
        core.fail(core.claim_one(), retryable=False)
        core.complete(core.claim_one())
        core.advance(499)
        core.sweep()
        assert {core.state.job_id(job) for job in core.state.jobs.values()} == {kept, dead}
        core.advance(1)
        core.sweep()
        assert not core.state.jobs
        core.check_replay()


class TestBounds:
    def test_every_kind_of_work_is_bounded(self):
        core = Core()
        core.submit_specs(
            [spec(timeout_ms=10, retention_ms=10, max_attempts=1, idempotency_key=f"k{n}") for n in range(10)]
        )
        core.claim(max_jobs=10)
        core.submit_specs([spec(run_at=core.now_ms + 10)] * 10, request_id="r")
        core.advance(10)
        core.do(Sweep(limit=3))
        assert core.state.counters.timed_out == 3
        assert core.state.count(Status.UNCLAIMED) == 3
        core.do(Sweep(limit=3))
        assert core.state.counters.timed_out == 6
        core.check_replay()

    def test_letting_go_is_bounded_too_many_times_higher(self):
        core = Core()
        count = 3 * LET_GO + 10
        core.submit_specs(
            [spec(timeout_ms=10, retention_ms=10, max_attempts=1, idempotency_key=f"k{n}") for n in range(count)]
        )
        core.claim(max_jobs=count)
        core.advance(10)
        core.do(Sweep(limit=count))
        core.advance(DAY_MS)
        core.do(Sweep(limit=3))
        assert core.state.counters.evicted == 3 * LET_GO
        assert len(core.state.keys) == 10
        core.check_replay()

    def test_many_sweeps_do_all_of_it(self):
        core = Core()
        core.submit_specs([spec(run_at=core.now_ms + 10)] * 25)
        core.advance(10)
        while due(core):
            core.do(Sweep(limit=4))
        assert core.state.count(Status.UNCLAIMED) == 25

    def test_while_a_checkpoint_is_written_nothing_is_forgotten(self):
        core = Core()
        core.submit(idempotency_key="k")
        core.advance(DAY_MS)
        core.do(Sweep(forget=False))
        assert len(core.state.keys) == 1
        core.do(Sweep())
        assert len(core.state.keys) == 0

    def test_nothing_due_is_no_commit(self):
        core = Core()
        core.submit(idempotency_key="k", run_at=core.now_ms + 5)
        commits = len(core.log)
        core.sweep()
        assert len(core.log) == commits


def test_a_job_that_two_rows_want_cancelled_is_cancelled_once(monkeypatch):
    """Its limit lets it go as the newest, and its schedule for another one."""
    core = Core()
    first, second = core.submit(run_at=core.now_ms + 1), core.submit(run_at=core.now_ms + 1)

    def row(name: str, *numbers: int) -> due_table.Row:
        return due_table.Row(
            name, due_table.Urgency.AT_ONCE, lambda state: 0, lambda sweep: Cancelled(list(numbers), 1_000)
        )

    monkeypatch.setattr(due_table, "ROWS", (row("limits", 1), row("schedules", 1, 2), row("more", 2)))
    core.sweep()
    assert {core.status(first), core.status(second)} == {Status.CANCELLED}
    assert core.state.counters.cancelled == 2
    core.check_replay()


def test_a_schedule_that_catches_up_does_not_cancel_a_job_that_was_cancelled_before():
    core = Core()
    core.do(PutSchedule("s", ScheduleSpec(spec("t"), every_ms=1_000, overlap=Overlap.CANCEL_OTHER, missed=Missed.ALL)))
    core.advance(1_000)
    core.sweep()
    (first,) = core.state.jobs.values()
    core.cancel(core.state.job_id(first))
    core.advance(5_000)
    core.sweep()
    assert core.state.live >= 1
    core.check_replay()
