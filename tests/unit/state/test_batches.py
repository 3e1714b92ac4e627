"""Batches: jobs that are counted together, and what is submitted once when they have ended."""

from dataclasses import replace
from typing import Any

import pytest

from osqueue_service.errors import BatchNotFound, IdempotencyConflict, InvalidRequest, LeaseLost, QueueFull
from osqueue_service.limits import DAY_MS, DEFAULT_LIMITS, HOUR_MS
from osqueue_service.state.batch_commands import AddToBatch, CancelBatch, OpenBatch, SealBatch
from osqueue_service.state.batches import BatchSpec
from osqueue_service.state.batching import batch_of, in_batch
from osqueue_service.state.commands import Complete, CompleteItem, Submit
from osqueue_service.state.model import JobSpec, MoreOfSpec, Status
from osqueue_service.state.unique import OnConflict, Unique
from tests.core import Core, spec

CALLBACKS = {
    "on_first_dead": spec("first dead", b"1"),
    "on_success": spec("success", b"2"),
    "on_finished": spec("finished", b"3"),
}


@pytest.fixture
def core() -> Core:
    return Core()


class Open:
    """A batch with all three callbacks, each a type of its own."""

    def __init__(self, core: Core, *, request_id: str = "", **fields: Any) -> None:
        self.core = core
        times = {"seal_after_ms": DAY_MS, "retention_ms": 14 * DAY_MS}
        answer = core.do(OpenBatch(BatchSpec(**{"name": "b", **times, **CALLBACKS, **fields}), request_id))
        self.number, self.id = answer.number, answer.batch_id

    def add(self, *types: str, **fields: Any) -> list[str]:
        specs = [in_batch(spec(each, **{"max_attempts": 1, **fields}), self.number) for each in types]
        return [answer.job_id for answer in self.core.submit_specs(specs)]

    def seal(self) -> None:
        self.core.do(SealBatch(self.number))

    def cancel(self) -> int:
        return self.core.do(CancelBatch(self.number))

    def complete(self, *types: str) -> None:
        for each in types:
            self.core.complete(self.core.claim_one(types=[each]))

    def die(self, name: str) -> str:
        granted = self.core.claim_one(types=[name])
        self.core.fail(granted)
        return granted.job_id

    @property
    def batch(self):
        return self.core.state.batches.by_number[self.number]

    @property
    def called(self) -> list[str]:
        """What it has submitted, in that order."""
        batch = self.batch
        jobs = zip((batch.first_dead_job, batch.success_job, batch.finished_job), CALLBACKS, strict=True)
        return [name for _, name in sorted((number, name) for number, name in jobs if number)]

    @property
    def counts(self) -> tuple[int, ...]:
        """Live, completed, dead, cancelled, purged."""
        batch = self.batch
        return batch.live, batch.completed, batch.dead, batch.cancelled, batch.purged


class TestCallbacks:
    def test_success_and_the_end_are_submitted_in_the_commit_that_ends_the_last_member(self, core):
        batch = Open(core)
        batch.add("a", "b")
        batch.seal()
        batch.complete("a")
        assert batch.called == []
        granted = core.claim_one(types=["b"])
        commits = len(core.log)
        core.complete(granted)
        assert len(core.log) == commits + 1
        assert batch.called == ["on_success", "on_finished"]
        assert core.claim_one(types=["success"]).spec.payload == b"2"
        assert core.claim_one(types=["finished"]).spec.payload == b"3"
        core.check_replay()

    def test_nothing_is_submitted_before_the_batch_is_sealed(self, core):
        batch = Open(core)
        batch.add("a")
        batch.complete("a")
        assert batch.called == []
        batch.seal()
        assert batch.called == ["on_success", "on_finished"]

    def test_an_empty_one_ends_when_it_is_sealed(self, core):
        batch = Open(core)
        batch.seal()
        assert batch.called == ["on_success", "on_finished"]
        core.check_replay()

    def test_the_first_death_is_told_at_once_and_once(self, core):
        batch = Open(core)
        batch.add("a", "b", "c")
        batch.die("a")
        assert batch.called == ["on_first_dead"]
        batch.die("b")
        batch.seal()
        batch.complete("c")
        assert batch.called == ["on_first_dead", "on_finished"]
        assert sum(job.spec.type == "first dead" for job in core.state.jobs.values()) == 1
        assert batch.counts == (0, 1, 2, 0, 0)
        core.check_replay()

    def test_a_retry_that_succeeds_reopens_success_alone(self, core):
        batch = Open(core)
        batch.add("a", "b")
        batch.seal()
        dead = batch.die("a")
        batch.complete("b")
        assert batch.called == ["on_first_dead", "on_finished"]
        core.retry(dead)
        assert batch.counts == (1, 1, 0, 0, 0)
        batch.die("a")
        core.retry(dead)
        batch.complete("a")
        assert batch.called == ["on_first_dead", "on_finished", "on_success"]
        assert len([job for job in core.state.jobs.values() if job.spec.type == "finished"]) == 1
        core.check_replay()

    @pytest.mark.parametrize("how", ["cancel", "purge"])
    def test_a_member_that_is_cancelled_or_purged_ends_it_without_success(self, core, how):
        batch = Open(core)
        _, gone = batch.add("a", "b")
        batch.seal()
        getattr(core, how)(gone)
        batch.complete("a")
        assert batch.called == ["on_finished"]
        assert batch.counts == (0, 1, 0, *((1, 0) if how == "cancel" else (0, 1)))
        core.check_replay()

    def test_purging_the_dead_member_does_not_make_it_a_success(self, core):
        batch = Open(core)
        batch.add("a")
        batch.seal()
        dead = batch.die("a")
        core.purge(dead)
        assert batch.called == ["on_first_dead", "on_finished"]
        assert batch.counts == (0, 0, 0, 0, 1)

    def test_counts_outlive_the_members(self, core):
        batch = Open(core)
        batch.add("a", retention_ms=1)
        batch.complete("a")
        core.advance(HOUR_MS)
        core.sweep()
        assert not core.state.count(Status.COMPLETED)
        batch.add("b")
        batch.seal()
        batch.complete("b")
        assert batch.counts == (0, 2, 0, 0, 0)
        core.check_replay()

    def test_a_callback_says_where_it_came_from(self, core):
        batch = Open(core)
        batch.seal()
        origin = core.claim_one(types=["success"]).spec.more.origin
        assert (origin.number, origin.how) == (batch.number, "batch_success")

    def test_what_one_commit_has_no_room_for_is_found_by_the_next(self, core):
        core.limits = replace(core.limits, sweep_jobs=1)
        outer = Open(core)
        inner = [Open(core, parent=outer.number, on_first_dead=None, on_success=None) for _ in range(3)]
        (job_id,) = outer.add("a")
        for each in (*inner, outer):
            each.seal()
        core.cancel(job_id)
        for _ in range(4):
            core.sweep()
        assert [each.called for each in (*inner, outer)] == [["on_finished"]] * 4
        core.check_replay()


class TestMembers:
    def test_follow_ups_of_a_member_join_before_it_ends(self, core):
        batch = Open(core)
        batch.add("a")
        batch.seal()
        granted = core.claim_one(types=["a"])
        core.do(Complete([CompleteItem(granted.job_id, "w", granted.token, None, [in_batch(spec("b"), batch.number)])]))
        assert batch.counts == (1, 1, 0, 0, 0)
        assert batch.called == []
        batch.complete("b")
        assert batch.called == ["on_success", "on_finished"]
        core.check_replay()

    def test_a_running_member_adds_to_a_sealed_one(self, core):
        batch = Open(core)
        batch.add("a")
        batch.seal()
        granted = core.claim_one(types=["a"])
        command = AddToBatch(granted.job_id, "w", granted.token, [spec("b"), spec("c")], "r")
        added = core.do(command)
        assert core.do(command) == added
        assert batch.batch.total == 3
        with pytest.raises(LeaseLost):
            core.do(AddToBatch(granted.job_id, "w", "another", [spec("d")]))
        core.check_replay()

    def test_who_is_no_member_adds_to_none(self, core):
        core.submit("a")
        granted = core.claim_one(types=["a"])
        with pytest.raises(InvalidRequest, match="not a member"):
            core.do(AddToBatch(granted.job_id, "w", granted.token, [spec("b")]))

    def test_a_sealed_one_takes_no_others(self, core):
        batch = Open(core)
        batch.add("a")
        batch.seal()
        with pytest.raises(InvalidRequest, match="sealed"):
            batch.add("b")
        batch.seal()  # again: it changes nothing
        assert batch.batch.total == 1

    def test_nothing_is_added_after_the_last_member_ended(self, core):
        batch = Open(core)
        batch.add("a")
        batch.seal()
        dead = batch.die("a")
        core.retry(dead)
        granted = core.claim_one(types=["a"])
        with pytest.raises(InvalidRequest, match="have all ended"):
            core.do(AddToBatch(granted.job_id, "w", granted.token, [spec("b")]))

    def test_a_call_that_is_refused_adds_nothing(self, core):
        batch = Open(core)
        with pytest.raises(BatchNotFound):
            core.submit_specs([in_batch(spec("a"), batch.number), in_batch(spec("b"), 77)])
        assert batch.batch.total == 0

    def test_a_job_that_was_there_is_not_a_member(self, core):
        batch = Open(core)
        core.submit("a", more=MoreOfSpec(unique=Unique("k")))
        joined = MoreOfSpec(unique=Unique("k"), batch=batch.number)
        core.submit("a", more=joined)
        core.submit("b", idempotency_key="k")
        core.submit("b", idempotency_key="k", more=MoreOfSpec(batch=batch.number))
        assert batch.batch.total == 0

    def test_whoever_takes_a_members_place_is_the_member(self, core):
        batch = Open(core)
        core.submit("a", more=MoreOfSpec(unique=Unique("k"), batch=batch.number))
        core.submit("a", payload=b"2", more=MoreOfSpec(unique=Unique("k", on_conflict=OnConflict.REPLACE)))
        batch.seal()
        batch.complete("a")
        assert batch.called == ["on_success", "on_finished"]
        core.check_replay()

    def test_members_beyond_the_limit_are_refused(self):
        core = Core(replace(DEFAULT_LIMITS, batch_members=2))
        batch = Open(core)
        batch.add("a", "b")
        with pytest.raises(QueueFull, match="batch_members"):
            batch.add("c")
        other = Open(core)
        with pytest.raises(QueueFull, match="batch_members"):
            other.add("a", "b", "c")


class TestSealing:
    def test_it_is_sealed_when_nothing_was_added_for_long_enough(self, core):
        batch = Open(core, seal_after_ms=HOUR_MS)
        core.advance(HOUR_MS - 1)
        core.sweep()
        batch.add("a")
        core.advance(HOUR_MS - 1)
        core.sweep()
        assert not batch.batch.sealed_at
        core.advance(1)
        core.sweep()
        assert batch.batch.sealed_at
        core.check_replay()

    def test_it_is_let_go_when_its_retention_is_over(self, core):
        batch = Open(core, retention_ms=HOUR_MS)
        batch.add("a")
        batch.seal()
        batch.complete("a")
        core.advance(HOUR_MS - 1)
        core.sweep()
        assert batch_of(core.state, batch.id).finished_at
        core.advance(1)
        core.sweep()
        with pytest.raises(BatchNotFound):
            batch_of(core.state, batch.id)
        with pytest.raises(BatchNotFound):
            batch.seal()
        core.check_replay()

    def test_one_that_was_let_go_gives_its_room_back(self, core):
        batch = Open(core, retention_ms=1)
        batch.seal()
        assert core.state.reserved_jobs == 1  # for the first death, which can still not be ruled out
        core.advance(1)
        core.sweep()
        assert core.state.reserved_jobs == 0


class TestCancelling:
    def test_those_that_wait_are_cancelled_and_those_that_run_asked(self, core):
        batch = Open(core)
        batch.add("a", "b", "c", run_at=0)
        running = core.claim_one(types=["a"])
        assert batch.cancel() == 3
        assert batch.counts == (1, 0, 0, 2, 0)
        assert core.state.get(running.job_id).cancel_requested
        with pytest.raises(InvalidRequest, match="cancelled"):
            batch.add("d")
        core.complete(running)
        assert batch.called == ["on_finished"]
        assert batch.batch.swept
        assert batch.cancel() == 0
        core.check_replay()

    def test_many_members_go_in_the_commits_that_follow(self, core):
        core.limits = replace(core.limits, sweep_jobs=2)
        batch = Open(core)
        batch.add(*["a"] * 5)
        batch.cancel()
        assert batch.counts == (3, 0, 0, 2, 0)
        core.sweep()
        rebuilt = Core(core.limits)
        rebuilt.state, rebuilt.log, rebuilt.now_ms = core.rebuilt(), core.log, core.now_ms
        rebuilt.sweep()
        rebuilt.sweep()
        batch.core = rebuilt
        assert batch.counts == (0, 0, 0, 5, 0)
        assert batch.called == ["on_finished"]

    def test_the_batches_in_it_are_cancelled_too(self, core):
        outer = Open(core)
        inner = Open(core, parent=outer.number)
        inner.add("a")
        outer.cancel()
        assert (inner.called, outer.called) == (["on_finished"], ["on_finished"])
        core.check_replay()


class TestNesting:
    def test_a_batch_is_a_member_that_ends_when_its_own_members_have(self, core):
        outer = Open(core)
        inner = Open(core, parent=outer.number)
        outer.add("a")
        inner.add("b")
        outer.seal()
        outer.complete("a")
        assert outer.counts == (1, 1, 0, 0, 0)
        inner.seal()
        inner.complete("b")
        assert (inner.called, outer.called) == (["on_success", "on_finished"],) * 2
        core.check_replay()

    def test_a_retry_in_the_inner_one_makes_a_success_of_both(self, core):
        outer = Open(core)
        inner = Open(core, parent=outer.number)
        inner.add("b")
        inner.seal()
        outer.seal()
        dead = inner.die("b")
        assert outer.counts == (0, 0, 1, 0, 0)
        assert outer.called == ["on_first_dead", "on_finished"]
        core.retry(dead)
        inner.complete("b")
        assert outer.called == ["on_first_dead", "on_finished", "on_success"]
        core.check_replay()

    def test_no_deeper_than_the_limit(self):
        core = Core(replace(DEFAULT_LIMITS, batch_depth=2))
        inner = Open(core, parent=Open(core).number)
        with pytest.raises(InvalidRequest, match="2 deep"):
            Open(core, parent=inner.number)

    def test_not_in_one_that_is_sealed_or_not_there(self, core):
        outer = Open(core)
        outer.add("a")
        outer.seal()
        with pytest.raises(InvalidRequest, match="sealed"):
            Open(core, parent=outer.number)
        with pytest.raises(BatchNotFound):
            Open(core, parent=77)


class TestOpening:
    def test_a_repeated_call_answers_as_it_did(self, core):
        assert Open(core, request_id="r").number == Open(core, request_id="r").number
        with pytest.raises(IdempotencyConflict):
            Open(core, request_id="r", name="another")

    def test_batches_beyond_the_limit_are_refused(self):
        core = Core(replace(DEFAULT_LIMITS, batches=1))
        Open(core)
        with pytest.raises(QueueFull, match="batches"):
            Open(core)

    def test_what_it_will_submit_has_its_room_from_the_beginning(self):
        core = Core(replace(DEFAULT_LIMITS, jobs=4))
        batch = Open(core)
        batch.add("a")
        with pytest.raises(QueueFull):
            core.submit("b")
        with pytest.raises(QueueFull):
            Open(core)
        batch.seal()
        batch.complete("a")
        assert batch.called == ["on_success", "on_finished"]

    def test_and_so_have_its_bytes(self):
        core = Core(replace(DEFAULT_LIMITS, bytes=1_000))
        with pytest.raises(QueueFull, match="bytes"):
            Open(core, on_success=spec("s", b"x" * 1_000))


def test_a_member_costs_few_bytes_beyond_its_job():
    """The jobs of a batch share what says so, and the batch has eight bytes for each."""
    core = Core()
    batch = Open(core)
    jobs = [in_batch(JobSpec("t", b"1"), batch.number) for _ in range(1_000)]
    core.do(Submit(jobs))
    shared = {id(job.spec.more) for job in core.state.jobs.values()}
    assert len(shared) == 1


def test_an_image_in_the_middle_of_everything_goes_on_as_the_state_did(core):
    """Whatever step a leader is lost at, the next one comes to the same."""
    batch = Open(core)
    batch.add("a", "b")
    batch.seal()
    inner = core.claim_one(types=["a"])
    for step in (lambda: core.fail(inner), lambda: batch.complete("b")):
        step()
        again = Core(core.limits)
        again.state, again.log, again.now_ms = core.rebuilt(), core.log, core.now_ms
        again.check_replay()
