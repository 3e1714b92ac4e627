"""The single writer: what it answers, when, and to whom."""

import asyncio
import contextlib
import gc
import weakref
from dataclasses import replace
from typing import Any

import pytest

from osqueue_service.engine.checkpointing import Checkpointer
from osqueue_service.engine.settings import EngineSettings
from osqueue_service.errors import (
    JobNotFound,
    LeaseLost,
    NotLeader,
    OsqueueError,
    OutcomeUnknown,
    QueueFull,
    TooManyRequests,
)
from osqueue_service.limits import DEFAULT_LIMITS, HOUR_MS
from osqueue_service.state import image
from osqueue_service.state.commands import (
    Complete,
    CompleteItem,
    Fail,
    FailItem,
    PauseTypes,
    Purge,
    PutLimit,
    ResumeTypes,
    Submit,
)
from osqueue_service.state.model import JobSpec, Lease, Status
from osqueue_service.state.named_limits import NamedLimit, Rate
from osqueue_service.state.state import State
from tests.core import under
from tests.unit.engine.bench import Bench, on_bench


def complete(bench: Bench, granted) -> "asyncio.Task":
    return bench.later(bench.engine.execute(Complete([CompleteItem(granted.job_id, "w", granted.token)])))


class TestAnswers:
    def test_nothing_is_answered_before_it_is_durable(self):
        async def test(bench: Bench) -> None:
            bench.lane.held = True
            submitting = bench.later(bench.submit())
            await bench.pass_ms(1_000)
            assert not submitting.done() and bench.engine.views.totals.live == 0
            bench.lane.land()
            await bench.pass_ms(1)
            assert submitting.done() and bench.engine.views.totals.live == 1

        on_bench(test)

    def test_answers_are_given_in_the_order_of_commits(self):
        async def test(bench: Bench) -> None:
            bench.lane.held = True
            given = []
            for number in range(3):
                bench.later(bench.submit()).add_done_callback(lambda _, n=number: given.append(n))
                await bench.pass_ms(60)
            assert bench.lane.in_flight == 3
            bench.lane.land_all()
            await bench.pass_ms(1)
            assert given == [0, 1, 2]

        on_bench(test)

    def test_an_answer_that_saw_what_is_not_durable_waits_for_it(self):
        async def test(bench: Bench) -> None:
            bench.lane.held = True
            spec = JobSpec("", b"{}", idempotency_key="k")
            first = bench.later(bench.engine.execute(Submit([spec])))
            await bench.pass_ms(100)
            again = bench.later(bench.engine.execute(Submit([spec])))
            nothing = bench.later(bench.claim())
            refused = bench.later(bench.engine.execute(Complete([CompleteItem("absent", "w")])))
            await bench.pass_ms(100)
            assert not any(task.done() for task in (first, again, nothing, refused))
            bench.lane.land_all()
            await bench.pass_ms(100)
            bench.lane.land_all()
            await bench.pass_ms(1)
            assert again.result()[0].deduplicated
            assert isinstance(refused.result()[0], JobNotFound)

        on_bench(test)

    def test_a_job_reaches_a_waiting_worker_with_its_producers_acknowledgement(self):
        async def test(bench: Bench) -> None:
            claiming = bench.later(bench.claim(wait_ms=10_000))
            await bench.pass_ms(100)
            commits = len(bench.lane.bodies)
            began = bench.loop.now_ms
            await bench.submit()
            assert bench.loop.now_ms - began == pytest.approx(bench.lane.put_ms, abs=1)
            await bench.pass_ms(1)
            assert claiming.done() and len(bench.lane.bodies) == commits + 1
            bench.check_log()

        on_bench(test)

    def test_one_refused_call_does_not_spoil_the_others_of_its_commit(self):
        async def test(bench: Bench) -> None:
            answers = await asyncio.gather(bench.submit(), bench.submit(5), bench.submit(), return_exceptions=True)
            assert isinstance(answers[1], QueueFull)
            assert [len(answer) for answer in (answers[0], answers[2])] == [1, 1]

        on_bench(test, limits=replace(DEFAULT_LIMITS, jobs=2))


class TestGoneCallers:
    def test_a_caller_that_goes_before_its_commit_has_asked_for_nothing(self):
        async def test(bench: Bench) -> None:
            bench.lane.held = True
            await_room = [bench.later(bench.submit()) for _ in range(1)]
            await bench.pass_ms(1)
            gone = bench.later(bench.submit())
            await bench.pass_ms(1)
            gone.cancel()
            await bench.pass_ms(100)
            bench.lane.land_all()
            await asyncio.gather(*await_room)
            assert bench.state.live == 1

        on_bench(test, depth=1)

    def test_a_caller_that_goes_does_not_take_the_commit_along(self):
        async def test(bench: Bench) -> None:
            bench.lane.held = True
            gone, stays = bench.later(bench.submit()), bench.later(bench.submit())
            await bench.pass_ms(10)
            gone.cancel()
            bench.lane.land()
            await stays
            assert bench.engine.views.totals.live == 2

        on_bench(test)

    def test_jobs_claimed_for_a_caller_that_is_gone_are_given_back(self):
        async def test(bench: Bench) -> None:
            await bench.submit()
            bench.lane.held = True
            gone = bench.later(bench.claim())
            await bench.pass_ms(20)
            gone.cancel()
            await bench.pass_ms(100)
            bench.lane.held = False
            bench.lane.land_all()
            (granted,) = await bench.claim(wait_ms=1_000)
            assert granted.attempt == 2
            assert bench.state.get(granted.job_id).attempts == 1

        on_bench(test)

    def test_a_repeated_claim_keeps_its_jobs_when_the_first_try_goes(self):
        """Found by simulation: the worker was told of the job, and then it was taken back."""

        async def test(bench: Bench) -> None:
            await bench.submit()
            bench.lane.held = True
            first = bench.later(bench.claim(claim_key="k"))
            await bench.pass_ms(20)
            again = bench.later(bench.claim(claim_key="k"))
            await bench.pass_ms(20)
            first.cancel()
            await bench.pass_ms(100)
            bench.lane.held = False
            bench.lane.land_all()
            (granted,) = await again
            await bench.pass_ms(200)
            assert bench.state.get(granted.job_id).status is Status.IN_PROGRESS
            await complete(bench, granted)

        on_bench(test)

    def test_giving_back_is_called_off_when_the_claim_is_repeated_before_it_is_done(self):
        """Found by simulation: the repeated claim and the giving back were of one commit."""

        async def test(bench: Bench) -> None:
            await bench.submit()
            bench.lane.held = True
            first = bench.later(bench.claim(claim_key="k"))
            await bench.pass_ms(20)
            again = bench.later(bench.claim(claim_key="k"))
            await bench.pass_ms(1)
            first.cancel()
            await bench.pass_ms(100)
            bench.lane.held = False
            bench.lane.land_all()
            (granted,) = await again
            await bench.pass_ms(200)
            assert bench.state.get(granted.job_id).status is Status.IN_PROGRESS

        on_bench(test, depth=1)

    def test_when_all_tries_of_a_claim_are_gone_its_jobs_are_given_back(self):
        async def test(bench: Bench) -> None:
            await bench.submit()
            bench.lane.held = True
            tries = [bench.later(bench.claim(claim_key="k")) for _ in range(2)]
            await bench.pass_ms(20)
            for one in tries:
                one.cancel()
            await bench.pass_ms(100)
            bench.lane.held = False
            bench.lane.land_all()
            assert await bench.claim("other", wait_ms=1_000)

        on_bench(test)

    def test_a_claim_that_waits_gives_way_to_its_repetition(self):
        """What is between may keep a call open whose caller is gone."""

        async def test(bench: Bench) -> None:
            first = bench.later(bench.claim(claim_key="k", wait_ms=10_000))
            other = bench.later(bench.claim("other", claim_key="k", wait_ms=10_000))
            await bench.pass_ms(10)
            assert await bench.claim(claim_key="k") == []
            assert await first == []
            await bench.submit()
            assert len(await other) == 1

        on_bench(test)

    def test_a_waiting_claim_that_goes_takes_no_job(self):
        async def test(bench: Bench) -> None:
            gone = bench.later(bench.claim("gone", wait_ms=10_000))
            await bench.pass_ms(10)
            gone.cancel()
            await bench.pass_ms(10)
            assert bench.engine.waiting_claims == 0
            await bench.submit()
            assert len(await bench.claim()) == 1

        on_bench(test)


class TestWaitingClaims:
    def test_a_claim_for_jobs_without_a_type_is_not_one_for_any(self):
        """Found by simulation: it was answered empty as soon as a job of another type waited, and asked again."""

        async def test(bench: Bench) -> None:
            claiming = bench.later(bench.claim(wait_ms=10_000, types=["", "mail"]))
            await bench.pass_ms(10)
            await bench.submit(type="other")
            await bench.pass_ms(100)
            assert not claiming.done()
            await bench.submit(type="")
            await bench.pass_ms(100)
            assert len(claiming.result()) == 1

        on_bench(test)

    def test_an_empty_queue_answers_empty_when_the_time_is_up(self):
        async def test(bench: Bench) -> None:
            began = bench.loop.now_ms
            assert await bench.claim(wait_ms=500) == []
            assert bench.loop.now_ms - began == pytest.approx(500, abs=2)

        on_bench(test)

    def test_who_waits_longest_is_served_first(self):
        async def test(bench: Bench) -> None:
            served = []
            for name in "abc":
                bench.later(bench.claim(name, wait_ms=60_000)).add_done_callback(lambda _, n=name: served.append(n))
                await bench.pass_ms(5)
            for _ in range(3):
                await bench.submit()
                await bench.pass_ms(5)
            assert served == ["a", "b", "c"]

        on_bench(test)

    def test_jobs_are_shared_among_those_who_wait(self):
        async def test(bench: Bench) -> None:
            waiting = [bench.later(bench.claim(name, wait_ms=60_000, max_jobs=10)) for name in "ab"]
            await bench.pass_ms(5)
            await bench.submit(4)
            assert [len(granted) for granted in await asyncio.gather(*waiting)] == [2, 2]

        on_bench(test)

    def test_a_resumed_type_serves_who_waits_for_it(self):
        async def test(bench: Bench) -> None:
            await bench.engine.execute(PauseTypes(["mail"]))
            await bench.submit(2, type="mail")
            waiting = [
                bench.later(bench.claim("a", wait_ms=60_000, types=["mail"])),
                bench.later(bench.claim("b", wait_ms=60_000)),
            ]
            await bench.pass_ms(100)
            assert bench.engine.waiting_claims == 2
            await bench.engine.execute(ResumeTypes(["mail"]))
            assert [len(granted) for granted in await asyncio.gather(*waiting)] == [1, 1]

        on_bench(test)

    def test_a_job_of_a_paused_type_is_nobodys_share(self):
        async def test(bench: Bench) -> None:
            await bench.engine.execute(PauseTypes(["mail"]))
            await bench.submit(100, type="mail")
            waiting = [bench.later(bench.claim(name, wait_ms=60_000, max_jobs=10)) for name in "ab"]
            await bench.pass_ms(5)
            await bench.submit(4, type="other")
            assert [len(granted) for granted in await asyncio.gather(*waiting)] == [2, 2]

        on_bench(test)

    def test_only_types_that_became_open_are_looked_at(self):
        """However many claims wait for other types, and whatever else could be claimed."""

        async def test(bench: Bench) -> None:
            for number in range(50):
                await bench.submit(type=f"stock {number}")
                bench.later(bench.claim(wait_ms=60_000, types=[f"none {number}"]))
            claiming = bench.later(bench.claim(wait_ms=60_000, types=["mail"]))
            await bench.pass_ms(5)
            asked: list[str] = []
            rows = bench.engine._dispatcher.waiting
            front = rows._front
            rows._front = lambda name: asked.append(name) or front(name)
            await bench.submit(type="mail")
            assert len(await claiming) == 1
            assert set(asked) == {"*", "mail"}

        on_bench(test)

    def test_their_number_is_limited_also_within_one_commit(self):
        """Found by simulation: claims of one commit did not see each other."""

        async def test(bench: Bench) -> None:
            answers = await asyncio.gather(*(bench.claim(wait_ms=300) for _ in range(5)), return_exceptions=True)
            assert sum(isinstance(answer, TooManyRequests) for answer in answers) == 3
            assert bench.engine.waiting_claims == 0

        on_bench(test, limits=replace(DEFAULT_LIMITS, waiting_claims=2))


class TestLeases:
    def test_a_lease_without_heartbeats_expires_and_the_job_waits_again(self):
        async def test(bench: Bench) -> None:
            (job_id,) = await bench.submit(lease_ms=1_000)
            await bench.claim()
            await bench.pass_ms(900)
            assert bench.state.get(job_id).status is Status.IN_PROGRESS
            await bench.pass_ms(200)
            assert bench.state.get(job_id).status is Status.UNCLAIMED

        on_bench(test)

    def test_heartbeats_keep_it_and_cost_no_commit(self):
        async def test(bench: Bench) -> None:
            await bench.submit(lease_ms=1_000)
            (granted,) = await bench.claim()
            commits = len(bench.lane.bodies)
            for _ in range(10):
                await bench.pass_ms(500)
                await bench.engine.heartbeats.beat(granted.job_id, "w", granted.token)
            assert len(bench.lane.bodies) == commits
            await bench.pass_ms(1_200)
            with pytest.raises(LeaseLost):
                await bench.engine.heartbeats.beat(granted.job_id, "w", granted.token)

        on_bench(test)

    def test_the_end_that_is_told_of_a_lease_never_goes_back(self):
        """Whatever fractions of a millisecond the clocks show, and wherever queue time is slewed to."""

        async def test(bench: Bench) -> None:
            await bench.submit(lease_ms=1_000)
            await bench.pass_ms(0.7)
            (granted,) = await bench.claim()
            told = [bench.engine.views.lease_of(1).expires_at]
            for step in range(3_000):
                bench.loop.world.wall_shift_ms += (-900.0, 0.3, 400.0)[step % 3]
                await bench.pass_ms((0.1, 0.37, 0.9, 0.01)[step % 4])
                told.append(bench.engine.views.lease_of(1).expires_at)
                lease, _ = await bench.engine.heartbeats.beat(granted.job_id, "w", granted.token)
                told.append(lease.expires_at)
            assert told == sorted(told)

        on_bench(test)

    def test_a_refused_heartbeat_waits_for_what_it_rests_on(self):
        async def test(bench: Bench) -> None:
            await bench.submit()
            (granted,) = await bench.claim()
            bench.lane.held = True
            ending = complete(bench, granted)
            await bench.pass_ms(20)
            beating = bench.later(bench.engine.heartbeats.beat(granted.job_id, "w", granted.token))
            await bench.pass_ms(100)
            assert not beating.done()
            bench.lane.land_all()
            await ending
            with pytest.raises(LeaseLost):
                await beating

        on_bench(test)

    def test_a_new_leader_starts_every_lease_anew(self):
        async def test(bench: Bench) -> None:
            (job_id,) = await bench.submit(lease_ms=1_000)
            await bench.claim()
            await bench.pass_ms(800)
            after = Bench(bench.loop, bench.limits, 4, EngineSettings())
            image.load(after.state, image.encode(bench.state))
            after.engine = type(after.engine)(
                after.term, after.state, clock=after.clock, ids=bench.engine._ids, limits=after.limits,
                settings=EngineSettings(),
            )  # fmt: skip
            after.engine.start()
            await bench.pass_ms(900)
            assert after.state.get(job_id).status is Status.IN_PROGRESS
            await bench.pass_ms(300)
            assert after.state.get(job_id).status is Status.UNCLAIMED

        on_bench(test)

    def test_attempts_time_out_however_often_they_beat(self):
        async def test(bench: Bench) -> None:
            (job_id,) = await bench.submit(timeout_ms=1_000)
            (granted,) = await bench.claim()
            for _ in range(4):
                await bench.pass_ms(240)
                await bench.engine.heartbeats.beat(job_id, "w", granted.token)
            await bench.pass_ms(100)
            assert bench.state.get(job_id).status is Status.UNCLAIMED

        on_bench(test)

    def test_the_time_of_an_attempt_counts_from_when_its_handler_began(self):
        async def test(bench: Bench) -> None:
            (job_id,) = await bench.submit(timeout_ms=1_000)
            (granted,) = await bench.claim()
            await bench.pass_ms(900)
            await bench.engine.heartbeats.beat(job_id, "w", granted.token, running_ms=0)
            await bench.pass_ms(600)
            await bench.engine.heartbeats.beat(job_id, "w", granted.token, running_ms=100)
            await bench.pass_ms(880)
            assert bench.state.get(job_id).status is Status.IN_PROGRESS
            await bench.pass_ms(40)
            assert bench.state.get(job_id).status is Status.UNCLAIMED
            assert not bench.state.begun

        on_bench(test)

    def test_an_attempt_that_never_begins_has_its_time_from_the_end_of_the_lease_it_was_granted(self):
        async def test(bench: Bench) -> None:
            (job_id,) = await bench.submit(timeout_ms=1_000, lease_ms=2_000)
            (granted,) = await bench.claim()
            for _ in range(14):
                await bench.pass_ms(200)
                await bench.engine.heartbeats.beat(job_id, "w", granted.token, running_ms=0)
            assert bench.state.get(job_id).status is Status.IN_PROGRESS
            await bench.pass_ms(250)
            assert bench.state.get(job_id).status is Status.UNCLAIMED

        on_bench(test)

    def test_nobody_has_begun_before_the_claim(self):
        async def test(bench: Bench) -> None:
            (job_id,) = await bench.submit(timeout_ms=1_000)
            (granted,) = await bench.claim()
            await bench.engine.heartbeats.beat(job_id, "w", granted.token, running_ms=1 << 62)
            await bench.pass_ms(900)
            assert bench.state.get(job_id).status is Status.IN_PROGRESS
            await bench.pass_ms(150)
            assert bench.state.get(job_id).status is Status.UNCLAIMED

        on_bench(test)

    def test_a_job_without_a_limit_has_no_time_to_count(self):
        async def test(bench: Bench) -> None:
            (job_id,) = await bench.submit()
            (granted,) = await bench.claim()
            await bench.engine.heartbeats.beat(job_id, "w", granted.token, running_ms=0)
            assert not bench.state.begun

        on_bench(test)

    def test_a_scheduled_job_runs_when_it_is_due(self):
        async def test(bench: Bench) -> None:
            claiming = bench.later(bench.claim(wait_ms=10_000))
            began = bench.loop.now_ms
            await bench.submit(run_at=bench.engine.now_ms() + 2_000)
            await claiming
            assert 2_000 <= bench.loop.now_ms - began <= 2_050

        on_bench(test)


class TestNamedLimits:
    def test_a_claim_that_waits_is_served_when_the_rate_allows_it_and_nothing_is_put_before(self):
        async def test(bench: Bench) -> None:
            await bench.engine.execute(PutLimit(NamedLimit("api", -1, Rate(1, 10_000, 1))))
            await bench.submit(more=under(("api", "")))
            await bench.submit(more=under(("api", "")))
            await bench.claim()
            waiting = bench.later(bench.claim(wait_ms=60_000))
            await bench.pass_ms(5_000)
            began, puts = bench.loop.now_ms, bench.lane.next_sequence
            await waiting
            assert 4_900 <= bench.loop.now_ms - began <= 5_050
            assert bench.lane.next_sequence <= puts + 2, "the claim, and a sweep at most"

        on_bench(test)

    def test_a_claim_that_waits_behind_a_limit_is_not_answered_empty(self):
        async def test(bench: Bench) -> None:
            await bench.engine.execute(PutLimit(NamedLimit("api", 1)))
            for _ in range(3):
                await bench.submit(more=under(("api", "")))
            (running,) = await bench.claim(max_jobs=3)
            claims = [bench.later(bench.claim(wait_ms=60_000)) for _ in range(2)]
            await bench.pass_ms(1_000)
            assert not any(claim.done() for claim in claims)
            await bench.engine.execute(Complete([CompleteItem(running.job_id, "w", running.token)]))
            await bench.pass_ms(1_000)
            assert [claim.done() for claim in claims] == [True, False]

        on_bench(test)


class TestWhatIsDue:
    def test_a_lease_that_the_state_does_not_have_ends_the_term_and_never_spins(self):
        async def test(bench: Bench) -> None:
            bench.engine._followers.leases.start(99, Lease("t", "w", 1, 0, 1_000), int(bench.clock.monotonic_ms()), 0)
            bench.engine._wake.set()
            await bench.pass_ms(2_000)
            (bug,) = bench.term.ended
            assert "leases of the jobs numbered [99]" in str(bug)
            assert bench.lane.next_sequence == 2, "it was not even tried to commit"

        on_bench(test)

    def test_heartbeats_that_were_refused_while_the_bucket_was_away_cost_nobody_the_lease(self):
        async def test(bench: Bench) -> None:
            (job_id,) = await bench.submit()
            (granted,) = await bench.claim(lease_ms=2_000)
            bench.term.live = False
            with pytest.raises(NotLeader):
                await bench.engine.heartbeats.beat(job_id, "w", granted.token)
            commits = bench.lane.next_sequence
            await bench.pass_ms(5_000)
            assert bench.lane.next_sequence == commits, "an expiry put now would land when the bucket is back"
            bench.term.live = True
            bench.term.lapses += 1
            await bench.pass_ms(1_900)
            await bench.engine.heartbeats.beat(job_id, "w", granted.token)
            await bench.pass_ms(1_900)
            assert bench.state.get(job_id).status is Status.IN_PROGRESS
            await bench.pass_ms(200)
            assert bench.state.get(job_id).status is Status.UNCLAIMED, "nobody sent a heartbeat since"

        on_bench(test)

    def test_keys_that_run_out_during_a_checkpoint_are_forgotten_after_it(self):
        limits = replace(DEFAULT_LIMITS, idempotency_ttl_ms=500)

        async def test(bench: Bench) -> None:
            await bench.submit(idempotency_key="k")
            bench.term.due = True
            release = asyncio.Event()
            publish = bench.term.publish_checkpoint

            async def slowly(*args: Any) -> None:
                await publish(*args)
                await release.wait()

            bench.term.publish_checkpoint = slowly
            await bench.submit()
            assert bench.engine.checkpointing
            await bench.pass_ms(100_000)
            assert len(bench.state.keys) == 1 and not bench.term.ended
            release.set()
            await bench.pass_ms(1_000)
            assert len(bench.state.keys) == 0 and not bench.term.ended

        on_bench(test, limits=limits)


class TestReads:
    def test_a_read_waits_for_what_it_saw(self):
        async def test(bench: Bench) -> None:
            bench.lane.held = True
            bench.later(bench.submit())
            await bench.pass_ms(20)
            reading = bench.later(bench.engine.views.read(lambda state: state.live))
            await bench.pass_ms(100)
            assert not reading.done()
            bench.lane.land_all()
            assert await reading == 1

        on_bench(test)

    def test_a_linearizable_read_asks_whether_this_broker_still_leads(self):
        async def test(bench: Bench) -> None:
            await bench.engine.views.read(lambda state: state.live)
            assert bench.term.confirmations == 0
            await bench.engine.views.read(lambda state: state.live, linearizable=True)
            assert bench.term.confirmations == 1
            bench.term.leads = False
            with pytest.raises(NotLeader):
                await bench.engine.views.read(lambda state: state.live, linearizable=True)

        on_bench(test)

    def test_no_read_is_served_once_another_broker_may_lead(self):
        async def test(bench: Bench) -> None:
            (job_id,) = await bench.submit()
            bench.term.live = False
            for call in (
                bench.engine.views.read(lambda state: state.live),
                bench.engine.views.wait_finished(job_id, 10, lambda state, job: state.live),
                bench.engine.heartbeats.beat(job_id, "w", "t"),
            ):
                with pytest.raises(NotLeader):
                    await call

        on_bench(test)

    def test_who_waits_on_a_leader_that_is_cut_off_is_sent_elsewhere(self):
        """It would have been answered empty after a minute, while the next leader had jobs."""

        async def test(bench: Bench) -> None:
            (job_id,) = await bench.submit(type="other")
            began = bench.loop.now_ms
            bench.term.live_until_ms = bench.clock.monotonic_ms() + 5_000
            waits = [
                bench.later(bench.claim(wait_ms=60_000, types=["mail"])),
                bench.later(bench.engine.views.wait_finished(job_id, 60_000, lambda state, job: None)),
            ]
            await bench.pass_ms(3_000)
            bench.term.live_until_ms += 5_000
            await bench.pass_ms(6_900)
            assert not any(wait.done() for wait in waits)
            waits.append(bench.later(bench.claim(wait_ms=60_000, types=["mail"])))
            for wait in waits:
                with pytest.raises(NotLeader):
                    await wait
            assert bench.loop.now_ms - began < 10_100
            assert bench.engine.waiting_claims == bench.engine.views.waiting_reads == 0

        on_bench(test)

    def test_a_leader_that_may_be_deposed_refuses_nobody_for_what_it_remembers(self):
        """A worker would throw its finished work away because an old leader does not know its lease."""

        async def test(bench: Bench) -> None:
            bench.term.live = False
            for command in (
                Complete([CompleteItem("absent", "w")]),
                Fail([FailItem("absent", "w")]),
                Purge(["absent"]),
            ):
                with pytest.raises(NotLeader):
                    await bench.engine.execute(command)
            with pytest.raises(NotLeader):
                await bench.claim()

        on_bench(test)

    def test_waiting_for_a_job_ends_with_it(self):
        async def test(bench: Bench) -> None:
            (job_id,) = await bench.submit()
            waiting = bench.later(bench.engine.views.wait_finished(job_id, 60_000, lambda state, job: job.status))
            (granted,) = await bench.claim()
            await bench.pass_ms(500)
            assert not waiting.done()
            bench.lane.held = True
            ending = complete(bench, granted)
            await bench.pass_ms(100)
            assert not waiting.done(), "it is not durable yet"
            bench.lane.land_all()
            await ending
            assert await waiting is Status.COMPLETED
            assert bench.engine.views.waiting_reads == 0

        on_bench(test)

    @pytest.mark.parametrize(
        ("failing", "ends"), [("figures.committed", False), ("hub.publish", True), ("notices.tell", True)]
    )
    def test_a_defect_in_telling_one_keeps_the_news_from_nobody_else(self, failing, ends):
        async def test(bench: Bench) -> None:
            (job_id,) = await bench.submit()
            waiting = bench.later(bench.engine.views.wait_finished(job_id, 60_000, lambda state, job: job.status))
            (granted,) = await bench.claim()
            watching = bench.engine.views.watch(lambda event: True)
            told = []
            bench.engine.notices.listen(1, lambda notice: None)
            bench.engine._followers.notices.tell = told.append
            defect = RuntimeError("a defect")

            def fail(*_):
                raise defect

            follower, _, method = failing.partition(".")
            setattr(getattr(bench.engine._followers, follower), method, fail)
            ending = complete(bench, granted)
            await ending
            await bench.pass_ms(1)
            assert waiting.done() and waiting.result() is Status.COMPLETED
            assert bool(told) is (follower != "notices")
            events, _ = watching.take()
            assert bool(events) is (follower != "hub")
            assert bench.term.ended == ([defect] if ends else []), "who was not told must ask another leader"
            assert await bench.submit(), "the engine goes on until the term has ended"

        on_bench(test)

    def test_waiting_for_a_job_ends_with_the_time(self):
        async def test(bench: Bench) -> None:
            (job_id,) = await bench.submit()
            status = await bench.engine.views.wait_finished(job_id, 300, lambda state, job: job.status)
            assert status is Status.UNCLAIMED

        on_bench(test)

    def test_their_number_is_limited(self):
        async def test(bench: Bench) -> None:
            (job_id,) = await bench.submit()
            waits = [
                bench.later(bench.engine.views.wait_finished(job_id, 200, lambda state, job: None)) for _ in range(2)
            ]
            await bench.pass_ms(1)
            with pytest.raises(TooManyRequests, match="waiting_reads"):
                await bench.engine.views.wait_finished(job_id, 200, lambda state, job: None)
            await asyncio.gather(*waits)

        on_bench(test, limits=replace(DEFAULT_LIMITS, waiting_reads=2))


class TestLimits:
    @pytest.mark.parametrize("limit", ["inbox_commands", "inbox_bytes"])
    def test_the_inbox_refuses_and_never_drops(self, limit):
        async def test(bench: Bench) -> None:
            bench.lane.held = True
            first = bench.later(bench.submit())
            await bench.pass_ms(10)
            taken = [bench.later(bench.engine.execute(Submit([JobSpec("", b"{}")]), 1)) for _ in range(3)]
            await bench.pass_ms(1)
            with pytest.raises(TooManyRequests, match=limit):
                await bench.engine.execute(Submit([JobSpec("", b"{}")]), 1)
            bench.lane.held = False
            bench.lane.land_all()
            await asyncio.gather(first, *taken)
            assert bench.engine.inbox_length == 0

        on_bench(test, depth=1, limits=replace(DEFAULT_LIMITS, **{limit: 3}))

    def test_a_commit_takes_no_more_than_its_bytes_and_the_rest_goes_with_the_next(self):
        async def test(bench: Bench) -> None:
            commits = len(bench.lane.bodies)
            await asyncio.gather(*(bench.engine.execute(Submit([JobSpec("", b"x" * 60)]), 60) for _ in range(4)))
            assert len(bench.lane.bodies) == commits + 2
            assert bench.state.live == 4

        on_bench(test, limits=replace(DEFAULT_LIMITS, commit_bytes=100))


class TestTheEnd:
    def test_whoever_was_under_way_hears_that_the_outcome_is_unknown_the_others_that_nothing_happened(self):
        async def test(bench: Bench) -> None:
            bench.lane.held = True
            put = bench.later(bench.submit())
            await bench.pass_ms(10)
            never_put = bench.later(bench.submit())
            waiting = bench.later(bench.claim(wait_ms=5_000))
            reading = bench.later(bench.engine.views.read(lambda state: state.live))
            await bench.pass_ms(1)
            bench.lane.end()
            bench.engine.lose(leader_address="other:1")
            outcomes = await asyncio.gather(put, never_put, waiting, reading, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown, NotLeader, NotLeader, NotLeader]
            with pytest.raises(NotLeader) as refusal:
                await bench.submit()
            assert refusal.value.leader_address == "other:1"

        on_bench(test, depth=1)

    def test_stopping_in_order_settles_what_was_put(self):
        async def test(bench: Bench) -> None:
            bench.lane.held = True
            put = bench.later(bench.submit())
            await bench.pass_ms(10)
            stopping = bench.later(bench.engine.stop())
            await bench.pass_ms(10)
            assert not stopping.done()
            bench.lane.land_all()
            await stopping
            assert len(await put) == 1

        on_bench(test)

    def test_stopping_while_the_lane_ends_returns(self):
        async def test(bench: Bench) -> None:
            bench.lane.held = True
            put = bench.later(bench.submit())
            await bench.pass_ms(10)
            stopping = bench.later(bench.engine.stop())
            await bench.pass_ms(10)
            bench.lane.end()
            bench.engine.lose()
            await stopping
            with pytest.raises(OutcomeUnknown):
                await put

        on_bench(test)

    @pytest.mark.parametrize("where", ["commit", "checkpoint"])
    def test_a_bug_ends_the_term_so_that_another_broker_can_have_it(self, where, monkeypatch):
        """Otherwise a leader that answers nobody would renew its term for ever."""

        async def test(bench: Bench) -> None:
            def broken(*_: object) -> None:
                raise RuntimeError("a bug")

            if where == "commit":
                monkeypatch.setattr("osqueue_service.engine.execution.decide", broken)
            else:
                monkeypatch.setattr("osqueue_service.engine.checkpointing.Snapshot", broken)
                bench.term.due = True
            submitting = bench.later(bench.submit())
            await bench.pass_ms(100)
            assert [str(reason) for reason in bench.term.ended] == ["a bug"]
            bench.lane.end()
            bench.engine.lose()
            await asyncio.gather(submitting, return_exceptions=True)

        on_bench(test)

    def test_giving_back_at_the_end_is_nobodys_complaint(self):
        """Found by simulation: asyncio complained of an exception that nobody retrieved."""

        async def test(bench: Bench) -> None:
            await bench.submit()
            bench.lane.held = True
            gone = bench.later(bench.claim())
            await bench.pass_ms(20)
            gone.cancel()
            await bench.pass_ms(100)
            bench.lane.end()
            bench.engine.lose()
            await bench.pass_ms(10)
            gc.collect()

        on_bench(test)


class TestCheckpoints:
    def test_a_checkpoint_is_of_its_moment_while_commits_go_on(self, monkeypatch):
        monkeypatch.setattr(image, "_JOBS_PER_PART", 5)

        async def test(bench: Bench) -> None:
            await bench.submit(40)
            bench.term.due = True
            bench.term.between_parts = lambda: bench.later(bench.submit()) and None
            await bench.submit()
            bench.term.due = False
            await bench.pass_ms(500)
            ((sequence, parts),) = bench.term.published
            taken = State()
            image.load(taken, parts)
            behind = Bench(bench.loop, bench.limits, 4, EngineSettings())
            behind.lane.bodies = bench.lane.bodies[:sequence]
            assert image.encode(taken) == image.encode(behind.rebuilt())
            assert bench.state.live > taken.live

        on_bench(test)

    def test_what_earlier_leaders_logged_counts_too(self):
        """Found by killing leaders every few seconds: none lived to change as many jobs as there were, so none wrote a
        checkpoint, however long the log behind the last one."""

        async def test(bench: Bench) -> None:
            await bench.submit(40)
            successor = Checkpointer(bench.term, bench.state, bench.clock, lambda _: None)
            bench.term.due = True
            successor.consider(bench.clock.monotonic_ms())
            assert successor.running
            await bench.pass_ms(500)
            assert successor.written == 1
            bench.term.due = True
            successor.consider(bench.clock.monotonic_ms())
            assert not successor.running, "it has changed nothing since"

        on_bench(test)

    def test_nothing_is_forgotten_while_one_is_written(self):
        async def test(bench: Bench) -> None:
            await bench.engine.execute(Submit([JobSpec("", b"{}", idempotency_key="k")]))
            await bench.pass_ms(25 * HOUR_MS)
            assert len(bench.state.keys) == 0, "forgotten without any traffic"
            bench.check_log()

        on_bench(test)


class TestMemory:
    def test_refused_items_leave_nothing_behind(self):
        """Found by simulation: refusals held on to the frames they were raised in, and those to the whole call, in a
        cycle that the garbage collector did not see."""

        async def test(bench: Bench) -> None:
            class Items(list):
                """Something of a call that can be watched."""

            watched = []
            for command in (
                lambda: Complete(Items([CompleteItem("absent", "w")])),
                lambda: Fail(Items([FailItem("absent", "w")])),
                lambda: Purge(Items(["absent"])),
                lambda: Submit(Items([JobSpec("", b"x" * 100)])),
            ):
                made = command()
                items = (
                    made.jobs if isinstance(made, Submit) else made.job_ids if isinstance(made, Purge) else made.items
                )
                watched.append(weakref.ref(items))
                with contextlib.suppress(OsqueueError):
                    await bench.engine.execute(made)
                del made, items
            await bench.pass_ms(100)
            gc.collect()
            assert [one() for one in watched] == [None] * 4

        on_bench(test, limits=replace(DEFAULT_LIMITS, bytes=50))
