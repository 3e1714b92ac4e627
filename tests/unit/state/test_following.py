"""What follows a job's end: follow-ups of a completion, and what is submitted when a job dies."""

from dataclasses import replace

import pytest

from osqueue_service.errors import IdempotencyConflict, QueueFull
from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.state import features
from osqueue_service.state.commands import (
    Claim,
    Complete,
    CompleteItem,
    Fail,
    FailItem,
    Followed,
    Granted,
    Submit,
    SubmitAnswer,
    Sweep,
)
from osqueue_service.state.model import FOLLOW_UP, ON_DEAD, JobSpec, MoreOfSpec, Origin, Status
from tests.core import Core, only, spec


@pytest.fixture
def core() -> Core:
    return Core()


def complete(core: Core, granted: Granted, *follow_ups: JobSpec) -> Followed | None:
    followed: Followed | None = only(
        core.do(Complete([CompleteItem(granted.job_id, "w", granted.token, None, follow_ups)]))
    )
    return followed


def ids(followed: Followed | None) -> list[str]:
    assert followed is not None
    return [answer.job_id for answer in followed.answers if isinstance(answer, SubmitAnswer)]


def compensated(type: str = "order", **fields: object) -> JobSpec:
    return spec(type, more=MoreOfSpec(on_dead=spec("refund", b'{"of": 1}')), **fields)


class TestFollowUps:
    def test_the_completion_and_what_follows_it_are_one_commit(self, core):
        core.submit("a")
        granted = core.claim_one()
        commits = len(core.log)
        followed = complete(core, granted, spec("b"), spec("c"))
        assert len(core.log) == commits + 1
        assert core.status(granted.job_id) is Status.COMPLETED
        assert [core.job(job_id).spec.type for job_id in ids(followed)] == ["b", "c"]
        assert core.order() == ids(followed)
        core.check_replay()

    def test_a_follow_up_knows_the_job_and_the_attempt_that_it_came_from(self, core):
        core.submit("a")
        first = core.claim_one()
        core.fail(first)
        granted = core.claim_one()
        (child,) = ids(complete(core, granted, spec("b")))
        assert core.job(child).spec.more == MoreOfSpec(origin=Origin(granted.number, FOLLOW_UP, 2))
        assert core.claim_one().came_from == granted.job_id
        assert core.job(granted.job_id).more.follow_ups == (core.job(child).number,)

    def test_a_repeated_completion_answers_the_same_and_submits_nothing(self, core):
        core.submit("a")
        granted = core.claim_one()
        answer = complete(core, granted, spec("b"), spec("c"))
        commits = len(core.log)
        assert complete(core, granted, spec("b"), spec("c")) == answer
        assert complete(core, granted) == answer, "the first call's count"
        assert len(core.log) == commits
        assert core.state.counters.submitted == 3

    def test_a_repetition_is_answered_even_when_the_job_is_no_longer_kept(self, core):
        core.submit("a", retention_ms=1)
        granted = core.claim_one()
        answer = complete(core, granted, spec("b", idempotency_key="k"), spec("c", idempotency_key="k"))
        core.advance(1_000)
        core.sweep()
        assert core.state.find(granted.job_id) is None
        again = complete(core, granted)
        assert ids(again) == ids(answer)
        assert isinstance(again.answers[1], QueueFull | IdempotencyConflict) or again.answers[1].deduplicated
        core.check_replay()
        core.advance(DEFAULT_LIMITS.settled_ttl_ms)
        core.sweep()
        assert not len(core.state.followed)
        core.check_replay()

    def test_one_that_is_sent_twice_in_a_call_is_followed_once(self, core):
        core.submit("a")
        granted = core.claim_one()
        item = CompleteItem(granted.job_id, "w", granted.token, None, [spec("b")])
        first, second = core.do(Complete([item, item]))
        assert first == second
        assert core.state.counters.submitted == 2

    def test_many_completions_of_one_call_number_their_follow_ups_one_after_another(self, core):
        core.submit_specs([spec("a"), spec("a"), spec("a")])
        granted = core.claim(max_jobs=3)
        items = [CompleteItem(each.job_id, "w", each.token, None, [spec("b"), spec("b")]) for each in granted]
        answers = core.do(Complete([items[0], replace_follow_ups(items[1]), items[2]]))
        assert answers[1] is None
        numbers = [core.job(job_id).number for answer in (answers[0], answers[2]) for job_id in ids(answer)]
        assert numbers == [4, 5, 6, 7]

    def test_nothing_follows_a_job_that_was_to_be_cancelled_and_the_answer_says_so_every_time(self, core):
        job_id = core.submit("a", retention_ms=1)
        granted = core.claim_one()
        core.cancel(job_id)
        assert complete(core, granted, spec("b")) == Followed(withheld=True)
        assert core.status(job_id) is Status.COMPLETED
        assert core.state.counters.submitted == 1
        assert complete(core, granted, spec("b")) == Followed(withheld=True)
        core.advance(1_000)
        core.sweep()
        assert complete(core, granted, spec("b")) == Followed(withheld=True)
        core.check_replay()

    def test_an_idempotency_key_stands_for_the_earlier_job_and_a_conflict_refuses_the_follow_up_only(self, core):
        known = core.submit("once", idempotency_key="k")
        core.claim_one()
        core.submit("a")
        granted = core.claim_one()
        followed = complete(
            core, granted, spec("once", idempotency_key="k"), spec("other", idempotency_key="k"), spec("b")
        )
        first, second, third = followed.answers
        assert first == SubmitAnswer(known, deduplicated=True)
        assert isinstance(second, IdempotencyConflict)
        assert core.job(third.job_id).spec.type == "b"
        again = complete(core, granted)
        assert again.answers[0] == first
        assert isinstance(again.answers[1], QueueFull)
        assert again.answers[2] == third
        core.check_replay()

    def test_a_full_queue_takes_follow_ups_as_far_as_the_reserve_goes(self):
        core = Core(replace(DEFAULT_LIMITS, jobs=1, reserve_jobs=1))
        core.submit("a")
        granted = core.claim_one()
        followed = complete(core, granted, spec("b"), spec("c"))
        assert core.status(granted.job_id) is Status.COMPLETED
        assert isinstance(followed.answers[0], SubmitAnswer)
        assert isinstance(followed.answers[1], QueueFull)
        assert "reserve" not in core.order()

    def test_a_refused_completion_is_followed_by_nothing(self, core):
        core.submit("a")
        granted = core.claim_one()
        core.expire(granted)
        with pytest.raises(Exception, match="lease"):
            complete(core, granted, spec("b"))
        assert core.state.counters.submitted == 1


def replace_follow_ups(item: CompleteItem) -> CompleteItem:
    return CompleteItem(item.job_id, item.worker_id, item.token, item.result)


class TestSubmitOnDead:
    @pytest.mark.parametrize("way", ["failed", "expired", "timed out", "not retryable"])
    def test_every_way_to_die_submits_it_with_its_cause_in_the_commit_of_the_death(self, core, way):
        (answer,) = core.submit_specs([compensated(max_attempts=2 if way == "not retryable" else 1, timeout_ms=50)])
        granted = core.claim_one()
        commits = len(core.log)
        if way == "failed":
            core.fail(granted, error_type="Boom", error_message="why")
        elif way == "not retryable":
            core.fail(granted, error_type="Boom", error_message="why", retryable=False)
        elif way == "expired":
            core.expire(granted)
        else:
            core.advance(50)
            core.sweep()
        assert len(core.log) == commits + 1
        job = core.job(answer.job_id)
        assert job.status is Status.DEAD
        child = core.claim_one()
        assert (child.spec.type, child.spec.payload, child.came_from) == ("refund", b'{"of": 1}', answer.job_id)
        origin = child.spec.more.origin
        last = job.history[-1]
        assert origin == Origin(job.number, ON_DEAD, 1, last.error_type, last.error_message)
        assert job.more.on_dead == (child.number,)
        core.check_replay()

    def test_a_job_that_is_retried_and_dies_again_is_followed_again(self, core):
        (answer,) = core.submit_specs([compensated(max_attempts=1)])
        for _ in range(3):
            core.fail(core.claim_one(types=["order"]))
            core.retry(answer.job_id)
        assert len(core.order(["refund"])) == 3
        assert len(core.job(answer.job_id).more.on_dead) == 3

    def test_only_the_last_deaths_are_named(self, core):
        (answer,) = core.submit_specs([compensated(max_attempts=1)])
        for _ in range(25):
            core.fail(core.claim_one(types=["order"]))
            core.retry(answer.job_id)
        assert len(core.job(answer.job_id).more.on_dead) == 20
        core.check_replay()

    def test_a_failure_that_is_tried_again_a_completion_a_cancellation_and_a_purge_submit_nothing(self, core):
        core.submit_specs([compensated(), compensated(), compensated(), compensated()])
        retried, completed, cancelled, purged = core.claim(max_jobs=4)
        core.fail(retried)
        core.complete(completed)
        core.cancel(cancelled.job_id)
        core.fail(cancelled)
        core.purge(purged.job_id)
        assert core.order(["refund"]) == []
        assert core.state.counters.submitted == 4

    def test_many_deaths_of_one_sweep_are_followed_in_it(self, core):
        core.submit_specs([compensated(max_attempts=1) for _ in range(5)])
        granted = core.claim(max_jobs=5)
        core.submit("later", run_at=core.now_ms + 10)
        core.advance(10)
        commits = len(core.log)
        core.do(Sweep([(each.number, each.token) for each in granted]))
        assert len(core.log) == commits + 1
        assert len(core.order(["refund"])) == 5
        core.check_replay()

    def test_it_has_its_place_in_the_queue_from_the_beginning(self):
        core = Core(replace(DEFAULT_LIMITS, jobs=3))
        core.submit_specs([compensated(max_attempts=1)])
        core.submit("b")
        with pytest.raises(QueueFull):
            core.submit("c")
        core.fail(core.claim_one(types=["order"]))
        assert core.state.live == 2
        core.submit("c")
        assert core.state.live == 3
        core.check_replay()

    def test_one_that_needs_two_places_is_refused_where_there_is_one(self):
        core = Core(replace(DEFAULT_LIMITS, jobs=1))
        with pytest.raises(QueueFull):
            core.submit_specs([compensated()])
        core.submit("a")

    def test_its_bytes_count_from_the_beginning(self, core):
        on_dead = spec("refund", b"x" * 1_000)
        core.submit_specs([spec("a", more=MoreOfSpec(on_dead=on_dead))])
        assert core.state.live_bytes == len("a") + len(b"{}") + on_dead.size


class TestFeature:
    def test_only_what_uses_it_needs_it(self):
        item = CompleteItem("a", "w")
        assert features.of_command(Submit([spec()])) == frozenset()
        assert features.of_command(Submit([spec(), compensated()])) == {features.FOLLOW_UPS}
        assert features.of_command(Complete([item])) == frozenset()
        assert features.of_command(Complete([item, CompleteItem("b", "w", follow_ups=[spec()])])) == {
            features.FOLLOW_UPS
        }
        assert features.of_command(Claim("w")) == features.of_command(Fail([FailItem("a", "w")])) == frozenset()

    def test_records_say_so_too(self, core):
        core.submit_specs([compensated(max_attempts=1)])
        core.fail(core.claim_one())
        from osqueue_service.engine.codec import decode_commit

        missing = [features.missing(decode_commit(body).records, ()) for body in core.log[1:]]
        assert missing == [["follow-ups"], [], ["follow-ups"]]
