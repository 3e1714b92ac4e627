"""Ending attempts: who may, what becomes of the job, and what a repeated action answers."""

from dataclasses import replace

import pytest

from osqueue_service.errors import JobNotFound, LeaseLost, OsqueueError
from osqueue_service.limits import DEFAULT_LIMITS, MINUTE_MS
from osqueue_service.state.commands import (
    Complete,
    CompleteItem,
    Fail,
    FailAnswer,
    FailItem,
    Granted,
    Release,
    ReleaseItem,
)
from osqueue_service.state.model import Ending, RetryPolicy, Status
from osqueue_service.state.retrying import CUT_MESSAGE_CHARS
from osqueue_service.state.settling import holder
from tests.core import Core, only


@pytest.fixture
def core() -> Core:
    return Core()


def end(core: Core, verb: str, job_id: str, worker_id: str, token: str = ""):
    """One of the three actions, with whatever proof the caller has."""
    command = {
        "complete": lambda: Complete([CompleteItem(job_id, worker_id, token)]),
        "fail": lambda: Fail([FailItem(job_id, worker_id, token)]),
        "release": lambda: Release([ReleaseItem(job_id, worker_id, token)]),
    }[verb]()
    return only(core.do(command))


VERBS = ["complete", "fail", "release"]


class TestCompleting:
    def test_the_result_is_kept_and_the_history_says_who_did_it(self, core):
        job_id = core.submit()
        granted = core.claim_one()
        core.advance(5)
        core.complete(granted, result=b"42")
        job = core.job(job_id)
        assert (job.status, job.result, job.finished_at) == (Status.COMPLETED, b"42", core.now_ms)
        (attempt,) = job.history
        assert (attempt.number, attempt.worker_id, attempt.ending) == (1, "w", Ending.COMPLETED)
        assert attempt.ended_at - attempt.started_at == 5
        core.check_replay()

    def test_the_same_job_twice_in_one_call_is_completed_once(self, core):
        core.submit()
        granted = core.claim_one()
        item = CompleteItem(granted.job_id, "w", granted.token)
        assert core.do(Complete([item, item])) == [None, None]
        assert core.state.counters.completed == 1


class TestFailing:
    def test_a_failed_job_waits_again_at_its_old_place(self, core):
        first, second = core.submit(), core.submit()
        answer = core.fail(core.claim_one(), error_type="Oops", error_message="no luck")
        assert answer == FailAnswer(Status.UNCLAIMED)
        assert core.order() == [first, second]
        (attempt,) = core.job(first).history
        assert (attempt.error_type, attempt.error_message, attempt.ending) == ("Oops", "no luck", Ending.FAILED)
        core.check_replay()

    def test_a_policy_makes_it_wait(self, core):
        job_id = core.submit(retry=RetryPolicy(initial_ms=100, jitter=0.0))
        answer = core.fail(core.claim_one())
        assert answer == FailAnswer(Status.SCHEDULED, core.now_ms + 100)
        assert core.job(job_id).due_at == answer.next_at

    def test_the_delay_of_the_call_wins_over_the_policy(self, core):
        core.submit(retry=RetryPolicy(initial_ms=100))
        assert core.fail(core.claim_one(), retry_delay_ms=7).next_at == core.now_ms + 7
        core.advance(7)
        core.sweep()
        assert core.fail(core.claim_one(), retry_delay_ms=0) == FailAnswer(Status.UNCLAIMED)

    def test_the_last_attempt_makes_it_a_dead_letter_in_the_same_commit(self, core):
        job_id = core.submit(max_attempts=2)
        core.fail(core.claim_one())
        commits = len(core.log)
        granted = core.claim_one()
        assert granted.attempt == 2
        assert core.fail(granted, error_message="last words") == FailAnswer(Status.DEAD)
        assert len(core.log) == commits + 2
        job = core.job(job_id)
        assert job.status is Status.DEAD and [attempt.number for attempt in job.history] == [1, 2]
        assert job.history[-1].error_message == "last words" and job.history[-1].became is Status.DEAD
        core.check_replay()

    def test_an_error_that_must_not_be_retried_makes_it_dead_at_once(self, core):
        core.submit(max_attempts=5)
        assert core.fail(core.claim_one(), retryable=False) == FailAnswer(Status.DEAD)

    def test_the_same_attempt_twice_in_one_call_fails_once(self, core):
        job_id = core.submit()
        granted = core.claim_one()
        item = FailItem(granted.job_id, "w", granted.token)
        assert core.do(Fail([item, item])) == [FailAnswer(Status.UNCLAIMED)] * 2
        assert core.job(job_id).attempts == 1


class TestReleasing:
    def test_the_job_keeps_its_place_and_the_attempt_does_not_count(self, core):
        first, second = core.submit(max_attempts=1), core.submit()
        core.release(core.claim_one())
        assert core.order() == [first, second]
        job = core.job(first)
        assert (job.attempts, job.claims) == (0, 1)
        granted = core.claim_one()
        assert granted.attempt == 2, "claims are numbered upwards, released ones too"
        assert core.fail(granted).status is Status.DEAD
        core.check_replay()

    def test_the_same_job_twice_in_one_call_is_released_once(self, core):
        job_id = core.submit()
        granted = core.claim_one()
        item = ReleaseItem(granted.job_id, "w", granted.token)
        assert core.do(Release([item, item])) == [Status.UNCLAIMED, Status.UNCLAIMED]
        assert core.job(job_id).attempts == 0


class TestProof:
    @pytest.mark.parametrize("verb", VERBS)
    def test_a_wrong_token_is_refused_and_changes_nothing(self, core, verb):
        job_id = core.submit()
        granted = core.claim_one()
        with pytest.raises(LeaseLost):
            end(core, verb, job_id, "w", "wrong")
        lease = core.job(job_id).lease
        assert lease is not None and lease.token == granted.token

    @pytest.mark.parametrize("verb", VERBS)
    def test_a_token_of_an_earlier_attempt_is_refused(self, core, verb):
        job_id = core.submit()
        stale = core.claim_one()
        core.expire(stale)
        fresh = core.claim_one()
        with pytest.raises(LeaseLost):
            end(core, verb, job_id, "w", stale.token)
        core.complete(fresh)

    @pytest.mark.parametrize("verb", VERBS)
    def test_a_token_alone_decides_whatever_the_worker_calls_itself(self, core, verb):
        job_id = core.submit()
        granted = core.claim_one("w1")
        end(core, verb, job_id, "another name", granted.token)

    @pytest.mark.parametrize("verb", VERBS)
    def test_without_a_token_the_worker_id_proves_the_lease(self, core, verb):
        job_id = core.submit()
        core.claim("w1")
        with pytest.raises(LeaseLost):
            end(core, verb, job_id, "w2")
        end(core, verb, job_id, "w1")

    @pytest.mark.parametrize("verb", VERBS)
    def test_a_token_once_shown_is_required(self, core, verb):
        job_id = core.submit()
        granted = core.claim_one("w1")
        holder(core.state, job_id, "w1", granted.token)
        with pytest.raises(LeaseLost, match="send lease_token"):
            end(core, verb, job_id, "w1")
        end(core, verb, job_id, "w1", granted.token)

    @pytest.mark.parametrize("verb", VERBS)
    def test_a_job_that_is_not_running(self, core, verb):
        job_id = core.submit()
        with pytest.raises(LeaseLost, match="unclaimed"):
            end(core, verb, job_id, "w", "token")

    @pytest.mark.parametrize("verb", VERBS)
    def test_a_job_that_does_not_exist(self, core, verb):
        with pytest.raises(JobNotFound):
            end(core, verb, "salt00000000dead", "w", "token")

    def test_each_item_of_a_call_has_its_own_answer(self, core):
        core.submit()
        granted = core.claim_one()
        good = CompleteItem(granted.job_id, "w", granted.token)
        answers = core.do(Complete([CompleteItem("absent", "w"), good, CompleteItem(granted.job_id, "w", "wrong")]))
        assert isinstance(answers[0], JobNotFound) and answers[1] is None and isinstance(answers[2], LeaseLost)


class TestRepeating:
    def ended(self, core: Core, verb: str, **fields) -> Granted:
        core.submit(**fields)
        granted = core.claim_one()
        end(core, verb, granted.job_id, "w", granted.token)
        return granted

    @pytest.mark.parametrize("verb", VERBS)
    def test_the_last_action_of_a_token_answers_as_it_did_and_changes_nothing(self, core, verb):
        core.submit(max_attempts=1)
        granted = core.claim_one()
        first = end(core, verb, granted.job_id, "w", granted.token)
        commits = len(core.log)
        core.advance(10 * MINUTE_MS)
        assert end(core, verb, granted.job_id, "w", granted.token) == first
        assert len(core.log) == commits
        core.check_replay()

    @pytest.mark.parametrize("verb", VERBS)
    def test_after_ten_minutes_it_is_refused(self, core, verb):
        granted = self.ended(core, verb)
        core.advance(10 * MINUTE_MS + 1)
        with pytest.raises(LeaseLost):
            end(core, verb, granted.job_id, "w", granted.token)

    @pytest.mark.parametrize("verb", VERBS)
    @pytest.mark.parametrize("other", VERBS)
    def test_another_action_of_the_token_is_refused(self, core, verb, other):
        if verb == other:
            return
        granted = self.ended(core, verb)
        with pytest.raises(LeaseLost):
            end(core, other, granted.job_id, "w", granted.token)

    @pytest.mark.parametrize("verb", VERBS)
    def test_without_a_token_only_the_last_attempt_can_be_meant(self, core, verb):
        core.submit()
        granted = core.claim_one("w1")
        end(core, verb, granted.job_id, "w1")
        end(core, verb, granted.job_id, "w1")
        with pytest.raises(LeaseLost):
            end(core, verb, granted.job_id, "w2")

    def test_while_the_next_attempt_runs_a_repeated_failure_still_answers(self, core):
        core.submit(retry=RetryPolicy(initial_ms=100, jitter=0.0))
        granted = core.claim_one()
        first = core.fail(granted)
        core.advance(100)
        core.sweep()
        core.claim_one("v")
        assert core.fail(granted) == first

    @pytest.mark.parametrize("verb", ["complete", "fail"])
    def test_when_the_job_is_no_longer_kept_it_still_answers(self, core, verb):
        core.submit(max_attempts=1, retention_ms=1)
        granted = core.claim_one()
        first = end(core, verb, granted.job_id, "w", granted.token)
        core.advance(1)
        core.sweep()
        assert core.state.find(granted.job_id) is None
        assert end(core, verb, granted.job_id, "w", granted.token) == first
        with pytest.raises(OsqueueError):
            end(core, verb, granted.job_id, "w", "wrong")
        core.check_replay()
        core.advance(10 * MINUTE_MS)
        core.sweep()
        with pytest.raises(JobNotFound):
            end(core, verb, granted.job_id, "w", granted.token)

    def test_an_earlier_attempt_of_a_job_that_is_no_longer_kept_still_answers(self, core):
        core.submit(retry=RetryPolicy(initial_ms=100, jitter=0.0), retention_ms=1)
        granted = core.claim_one()
        first = core.fail(granted)
        core.advance(100)
        core.sweep()
        core.complete(core.claim_one("v"), "v")
        core.advance(1)
        core.sweep()
        assert core.state.find(granted.job_id) is None
        assert core.fail(granted) == first
        core.check_replay()

    def test_no_more_tokens_are_remembered_than_the_limit(self):
        core = Core(replace(DEFAULT_LIMITS, settled_tokens=2))
        for _ in range(4):
            core.submit(retention_ms=1)
            core.complete(core.claim_one())
        core.advance(1)
        core.sweep()
        core.sweep()
        assert len(core.state.settled) == 2
        core.check_replay()

    def _failing(self, core: Core, message: str, times: int = 1) -> str:
        job_id = core.submit(max_attempts=100)
        for _ in range(times):
            core.fail(core.claim_one(), error_type="E", error_message=message)
        return job_id

    @pytest.mark.parametrize(("room", "kept"), [(903, [1, 2, 3]), (902, [3])])
    def test_while_the_histories_of_live_jobs_take_all_their_room_the_last_attempt_is_kept(self, room, kept):
        core = Core(replace(DEFAULT_LIMITS, history_bytes=room))
        job_id = self._failing(core, "x" * 450, 2)
        assert core.state.history_bytes == 902
        core.fail(core.claim_one(), error_type="E", error_message="x" * 450)
        assert [attempt.number for attempt in core.job(job_id).history] == kept
        core.check_replay()

    def test_and_the_beginning_of_its_message(self):
        core = Core(replace(DEFAULT_LIMITS, history_bytes=10))
        full = self._failing(core, "x" * CUT_MESSAGE_CHARS)
        assert core.job(full).history[-1].error_message == "x" * CUT_MESSAGE_CHARS
        core.fail(core.claim_one(), error_type="E", error_message="x" * (CUT_MESSAGE_CHARS + 1))
        (attempt,) = core.job(full).history
        assert (attempt.number, attempt.error_message) == (2, "x" * CUT_MESSAGE_CHARS + "…")

    def test_a_dead_letter_keeps_its_message(self):
        core = Core(replace(DEFAULT_LIMITS, history_bytes=10))
        job_id = self._failing(core, "x" * 1_000)
        core.fail(core.claim_one(), error_message="x" * 1_000, retryable=False)
        assert core.job(job_id).history[-1].error_message == "x" * 1_000
        assert core.state.history_bytes == 0
        core.check_replay()

    def test_a_history_keeps_the_last_attempts_only(self):
        core = Core(replace(DEFAULT_LIMITS, history_attempts=3))
        job_id = core.submit(max_attempts=10)
        for _ in range(5):
            core.fail(core.claim_one())
        assert [attempt.number for attempt in core.job(job_id).history] == [3, 4, 5]
        core.check_replay()
