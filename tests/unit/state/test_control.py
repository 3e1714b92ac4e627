"""What operators ask: cancel, retry, purge, pause, resume."""

import pytest

from osqueue_service.errors import InvalidRequest, JobNotFound, LeaseLost, QueueFull
from osqueue_service.limits import Limits
from osqueue_service.state.commands import Cancel, Purge, Retry
from osqueue_service.state.model import Ending, Status
from tests.core import Core


class TestCancelling:
    @pytest.mark.parametrize("delay_ms", [0, 100])
    def test_a_waiting_or_scheduled_job_is_cancelled_at_once(self, delay_ms):
        core = Core()
        job_id = core.submit(run_at=core.now_ms + delay_ms if delay_ms else 0)
        assert core.cancel(job_id) is Status.CANCELLED
        core.advance(100)
        core.sweep()
        assert core.claim() == []
        core.check_replay()

    def test_a_running_job_is_asked_to_stop_and_a_completion_still_wins(self):
        core = Core()
        job_id = core.submit()
        granted = core.claim_one()
        assert core.cancel(job_id) is Status.IN_PROGRESS
        assert core.job(job_id).cancel_requested
        core.complete(granted)
        assert core.status(job_id) is Status.COMPLETED
        core.check_replay()

    @pytest.mark.parametrize("how", ["fail", "release", "expire", "time out"])
    def test_any_other_end_of_the_attempt_cancels_it(self, how):
        core = Core()
        job_id = core.submit(timeout_ms=50)
        granted = core.claim_one()
        core.cancel(job_id)
        if how == "fail":
            assert core.fail(granted).status is Status.CANCELLED
        elif how == "release":
            core.release(granted)
        elif how == "expire":
            core.expire(granted)
        else:
            core.advance(50)
            core.sweep()
        assert core.status(job_id) is Status.CANCELLED
        assert core.state.counters.cancelled == 1 and core.state.counters.died == 0
        core.check_replay()

    def test_asking_again_answers_the_same_and_commits_nothing(self):
        core = Core()
        waiting, running = core.submit(), core.submit("r")
        core.claim(types=["r"])
        first = core.do(Cancel([waiting, running, waiting]))
        assert first == [Status.CANCELLED, Status.IN_PROGRESS, Status.CANCELLED]
        commits = len(core.log)
        assert core.do(Cancel([waiting, running])) == first[:2]
        assert len(core.log) == commits

    def test_a_finished_job_stays_what_it_is(self):
        core = Core()
        job_id = core.submit()
        core.complete(core.claim_one())
        assert core.cancel(job_id) is Status.COMPLETED

    def test_unknown_ids_are_named_one_by_one(self):
        core = Core()
        job_id = core.submit()
        unknown, known = core.do(Cancel(["absent", job_id]))
        assert isinstance(unknown, JobNotFound) and known is Status.CANCELLED


class TestRetrying:
    def test_a_dead_job_waits_again_with_a_new_budget_while_its_numbers_and_history_go_on(self):
        core = Core()
        job_id = core.submit(max_attempts=1)
        core.fail(core.claim_one())
        behind = core.submit()
        core.retry(job_id)
        assert core.order() == [behind, job_id], "it waits behind those that wait already"
        assert core.job(job_id).attempts == 0
        core.complete(core.claim_one())
        granted = core.claim_one()
        assert granted.attempt == 2
        core.fail(granted)
        assert core.status(job_id) is Status.DEAD
        assert [attempt.number for attempt in core.job(job_id).history] == [1, 2]
        counters = core.state.counters
        assert (counters.died, counters.retried) == (2, 1)
        core.check_replay()

    def test_a_request_to_cancel_does_not_outlive_it(self):
        core = Core()
        job_id = core.submit(max_attempts=1)
        core.fail(core.claim_one())
        core.retry(job_id)
        assert core.cancel(job_id) is Status.CANCELLED

    def test_only_a_dead_job_can_be_retried(self):
        core = Core()
        job_id = core.submit()
        with pytest.raises(InvalidRequest, match="unclaimed"):
            core.retry(job_id)
        with pytest.raises(JobNotFound):
            core.retry("absent")

    def test_twice_in_one_call_is_once(self):
        core = Core()
        job_id = core.submit(max_attempts=1)
        core.fail(core.claim_one())
        assert core.do(Retry([job_id, job_id])) == [None, None]
        assert core.state.counters.retried == 1


class TestPurging:
    @pytest.mark.parametrize("status", ["unclaimed", "scheduled", "in_progress", "completed", "dead", "cancelled"])
    def test_a_job_of_any_status_is_removed_for_good(self, status):
        core = Core()
        job_id = core.submit(
            max_attempts=1, retention_ms=9, run_at=core.now_ms + 9 if status == "scheduled" else 0, timeout_ms=50
        )
        if status == "cancelled":
            core.cancel(job_id)
        if status in ("in_progress", "completed", "dead"):
            granted = core.claim_one(claim_key="k")
            if status == "completed":
                core.complete(granted)
            if status == "dead":
                core.fail(granted)
        assert core.status(job_id).wire == status
        core.purge(job_id)
        assert core.state.find(job_id) is None and core.state.live_bytes == 0
        core.check_replay()

    def test_its_worker_learns_it_at_its_next_call(self):
        core = Core()
        job_id = core.submit()
        granted = core.claim_one()
        core.purge(job_id)
        with pytest.raises(JobNotFound):
            core.complete(granted)

    def test_twice_in_one_call_is_once(self):
        core = Core()
        job_id = core.submit()
        assert core.do(Purge([job_id, job_id])) == [None, None]
        assert isinstance(core.do(Purge([job_id]))[0], JobNotFound)


class TestPausing:
    def test_jobs_of_a_paused_type_wait(self):
        core = Core()
        held, free = core.submit("a"), core.submit("b")
        assert core.pause("a", "later", "a") == ["a", "later"]
        assert [one.job_id for one in core.claim(max_jobs=5)] == [free]
        later = core.submit("later")
        assert core.claim(max_jobs=5) == []
        core.check_replay()
        assert core.resume("a", "later") == []
        assert [one.job_id for one in core.claim(max_jobs=5)] == [held, later]
        core.check_replay()

    def test_what_runs_goes_on(self):
        core = Core()
        core.submit("a")
        granted = core.claim_one()
        core.pause("a")
        core.complete(granted)

    def test_so_many_types_may_be_paused_and_no_more(self):
        core = Core(limits=Limits(paused_types=2))
        core.pause("a", "b")
        with pytest.raises(QueueFull, match="paused_types"):
            core.pause("b", "c")
        assert core.pause("b") == ["a", "b"], "what is paused already is no more"
        core.resume("a")
        assert core.pause("c") == ["b", "c"]
        core.check_replay()

    def test_a_repeated_pause_commits_nothing(self):
        core = Core()
        core.pause("a")
        commits = len(core.log)
        assert core.pause("a") == ["a"]
        assert core.resume("b") == ["a"]
        assert len(core.log) == commits


def test_a_release_after_a_request_to_cancel_says_so_in_the_history():
    core = Core()
    job_id = core.submit()
    granted = core.claim_one()
    core.cancel(job_id)
    core.release(granted)
    assert [(attempt.ending, attempt.became) for attempt in core.job(job_id).history] == [
        (Ending.RELEASED, Status.CANCELLED)
    ]


def test_after_the_job_was_cancelled_its_worker_has_lost_the_lease():
    core = Core()
    job_id = core.submit()
    granted = core.claim_one()
    core.cancel(job_id)
    core.expire(granted)
    with pytest.raises(LeaseLost):
        core.complete(granted)
