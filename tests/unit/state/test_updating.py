"""Jobs that are changed while they wait: when they run, before which others, with what."""

from dataclasses import replace

import pytest

from osqueue_service.errors import InvalidRequest, JobNotFound, OsqueueError, QueueFull
from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.state import features
from osqueue_service.state.commands import Update
from osqueue_service.state.model import InSequence, MoreOfSpec, RetryPolicy, Status
from osqueue_service.state.named_limits import AtLimit
from osqueue_service.state.records import By, JobChange, Updated
from tests.core import START_MS, Core, spec, under


def update(core: Core, *job_ids: str, **change: object) -> list[Status | OsqueueError]:
    answers: list[Status | OsqueueError] = core.do(Update(list(job_ids), JobChange(**change)))
    return answers


class TestTime:
    def test_a_delayed_job_that_is_to_run_now_waits_behind_those_that_wait(self):
        core = Core()
        delayed = core.submit(run_at=START_MS + 5_000)
        first = core.submit()
        assert update(core, delayed, run_at=0) == [Status.UNCLAIMED]
        assert [core.claim_one().job_id, core.claim_one().job_id] == [first, delayed]
        core.check_replay()

    def test_a_job_that_a_failure_put_off_runs_at_once_and_keeps_its_attempts(self):
        core = Core()
        job_id = core.submit(retry=RetryPolicy(initial_ms=60_000, jitter=0.0))
        core.fail(core.claim_one())
        assert update(core, job_id, run_at=0) == [Status.UNCLAIMED]
        assert core.job(job_id).attempts == 1
        assert core.claim_one().job_id == job_id
        core.check_replay()

    def test_a_waiting_job_is_put_off(self):
        core = Core()
        job_id = core.submit()
        assert update(core, job_id, run_at=START_MS + 10) == [Status.SCHEDULED]
        assert not core.claim()
        core.advance(10)
        core.sweep()
        assert core.claim_one().job_id == job_id
        core.check_replay()

    def test_a_delayed_job_gets_another_time(self):
        core = Core()
        job_id = core.submit(run_at=START_MS + 10)
        assert update(core, job_id, run_at=START_MS + 20) == [Status.SCHEDULED]
        core.advance(10)
        core.sweep()
        assert core.job(job_id).status is Status.SCHEDULED
        core.advance(10)
        core.sweep()
        assert core.job(job_id).status is Status.UNCLAIMED

    def test_a_job_that_may_run_already_keeps_its_place_when_it_is_told_to(self):
        core = Core()
        first, _ = core.submit(), core.submit()
        before = len(core.log)
        assert update(core, first, run_at=0) == [Status.UNCLAIMED]
        assert len(core.log) == before, "nothing came of it"
        assert core.claim_one().job_id == first

    def test_a_blocked_job_stays_blocked_and_has_its_time_when_nothing_holds_it_up(self):
        core = Core()
        behind = {"more": MoreOfSpec(sequence=InSequence("s"))}
        core.submit(**behind)
        second = core.submit(run_at=START_MS + 1_000_000, **behind)
        assert update(core, second, run_at=0) == [Status.BLOCKED]
        core.complete(core.claim_one())
        assert core.claim_one().job_id == second
        core.check_replay()


class TestPriority:
    def test_it_goes_before_those_of_less_and_in_its_old_order_among_its_equals(self):
        core = Core()
        late, first, early = core.submit(), core.submit(priority=1), core.submit(priority=1)
        assert update(core, late, priority=1) == [Status.UNCLAIMED]
        assert [core.claim_one().job_id for _ in range(3)] == [late, first, early]
        core.check_replay()

    def test_under_a_limit_it_goes_first_too(self):
        core = Core()
        core.put_limit("api", 1)
        core.submit(more=under(("api", "")))
        other = core.submit(more=under(("api", "")))
        update(core, other, priority=5)
        assert core.claim_one().job_id == other
        core.check_replay()


class TestContent:
    def test_the_payload_and_the_labels_are_other_ones(self):
        core = Core()
        job_id = core.submit(payload=b"old", metadata={"a": "1"})
        assert update(core, job_id, payload=b"longer", metadata={"b": "2"}) == [Status.UNCLAIMED]
        job = core.job(job_id)
        assert (job.spec.payload, job.spec.metadata) == (b"longer", {"b": "2"})
        assert core.state.live_bytes == job.spec.size
        assert update(core, job_id, metadata={}) == [Status.UNCLAIMED]
        assert core.job(job_id).spec.metadata is None
        core.check_replay()

    def test_what_takes_more_room_than_there_is_is_refused_and_the_rest_is_done(self):
        core = Core(replace(DEFAULT_LIMITS, bytes=20))
        one, other = core.submit(payload=b"x" * 5), core.submit(payload=b"x" * 5)
        fits, grows = update(core, one, other, metadata={"label": "12345"})
        assert fits is Status.UNCLAIMED and isinstance(grows, QueueFull)
        assert core.job(one).spec.metadata and not core.job(other).spec.metadata
        core.check_replay()

    def test_less_fits_also_into_a_queue_that_is_too_full(self):
        core = Core(replace(DEFAULT_LIMITS, bytes=20))
        job_id = core.submit(payload=b"x" * 20)
        core.limits = replace(core.limits, bytes=10)
        assert update(core, job_id, payload=b"x" * 15) == [Status.UNCLAIMED]


class TestRefusals:
    def test_a_job_that_its_limit_would_cancel_at_once_is_not_run(self):
        core = Core()
        core.put_limit("api", 1, at_limit=AtLimit.CANCEL_NEWEST)
        core.submit(more=under(("api", "")))
        delayed = core.submit(run_at=START_MS + 10, more=under(("api", "")))
        running = core.claim_one()
        (answer,) = update(core, delayed, run_at=0)
        assert isinstance(answer, InvalidRequest) and "once there is room" in str(answer)
        assert core.status(delayed) is Status.SCHEDULED
        core.complete(running)
        assert update(core, delayed, run_at=0) == [Status.UNCLAIMED]
        core.check_replay()

    def test_what_runs_or_has_ended_stays_as_it_is(self):
        core = Core()
        done, running, dead = (core.submit(max_attempts=1) for _ in range(3))
        core.complete(core.claim_one())
        core.claim_one()
        core.fail(core.claim_one())
        for job_id, way_out in ((done, "submit another"), (running, "wait until its attempt"), (dead, "retry it")):
            (answer,) = update(core, job_id, priority=1)
            assert isinstance(answer, InvalidRequest) and way_out in str(answer)

    def test_each_job_is_answered_for_itself(self):
        core = Core()
        job_id = core.submit()
        missing, changed, again = update(core, "nowhere", job_id, job_id, priority=3)
        assert isinstance(missing, JobNotFound) and changed is again is Status.UNCLAIMED
        assert core.job(job_id).spec.priority == 3

    def test_what_is_so_already_makes_no_record(self):
        core = Core()
        job_id = core.submit(priority=3, run_at=START_MS + 10)
        before = len(core.log)
        assert update(core, job_id, priority=3, run_at=START_MS + 10) == [Status.SCHEDULED]
        assert len(core.log) == before


def test_the_record_needs_its_feature_and_says_who_asked():
    change = JobChange(priority=1)
    assert features.of_record(Updated(1, [1], change)) == {features.UPDATES}
    assert features.of_command(Update(["a"], change)) == {features.UPDATES}
    signed = Updated(1, [1], change, By("ada"))
    assert features.of_record(signed) == {features.UPDATES, features.PRINCIPAL}


@pytest.mark.parametrize("status", ["unclaimed", "scheduled"])
def test_the_audit_names_the_job(status: str):
    core = Core()
    job_id = core.submit(run_at=core.now_ms + 9 if status == "scheduled" else 0)
    core.do(Update([job_id], JobChange(priority=9), By("ada")))
    (entry,) = core.state.audit
    assert (entry.principal, entry.action, entry.names) == ("ada", "update", (job_id,))
    core.check_replay()


def test_specs_that_are_not_changed_are_the_same():
    before = spec("t", b"{}", priority=2, metadata={"a": "b"})
    assert JobChange().of(before) == before
