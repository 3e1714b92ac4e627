"""Submitting: ids, idempotency keys, request ids, limits."""

from dataclasses import replace

import pytest

from osqueue_service.errors import IdempotencyConflict, QueueFull
from osqueue_service.limits import DAY_MS, DEFAULT_LIMITS, MINUTE_MS
from osqueue_service.state.job_ids import JobIds
from osqueue_service.state.model import Status
from tests.core import SALT, Core, spec


def limited(**limits: int) -> Core:
    return Core(replace(DEFAULT_LIMITS, **limits))


def ids(answers) -> list[str]:
    return [answer.job_id for answer in answers]


def test_ids_are_made_from_the_number_and_the_salt_of_the_queue():
    core = Core()
    ids = JobIds(SALT, 1)
    assert [core.submit(), core.submit()] == [ids.of(1), ids.of(2)]
    core.check_replay()


@pytest.mark.parametrize(
    "job_id", ["", "nonsense", JobIds(SALT, 1).of(2), f"{SALT}0000000001", f"{SALT}1", f"{SALT}00000000+1", "x" * 300]
)
def test_what_is_no_id_of_a_job_finds_none(job_id):
    core = Core()
    core.submit()
    assert core.state.find(job_id) is None


def test_a_delayed_job_is_scheduled_and_waits_when_it_is_due():
    core = Core()
    later = core.submit(run_at=core.now_ms + 1)
    now = core.submit(run_at=core.now_ms)
    assert (core.status(later), core.status(now)) == (Status.SCHEDULED, Status.UNCLAIMED)
    core.advance(1)
    core.sweep()
    assert core.order() == [now, later]
    core.check_replay()


class TestIdempotencyKeys:
    def test_the_same_content_is_the_same_job(self):
        core = Core()
        first = core.submit("mail", b"1", idempotency_key="k")
        (again,) = core.submit_specs([spec("mail", b"1", idempotency_key="k", priority=5)])
        assert again.job_id == first and again.deduplicated
        assert core.state.live == 1
        core.check_replay()

    @pytest.mark.parametrize(
        "other", [spec("mail", b"2", idempotency_key="k"), spec("post", b"1", idempotency_key="k")]
    )
    def test_other_content_is_refused_and_names_the_job(self, other):
        core = Core()
        first = core.submit("mail", b"1", idempotency_key="k")
        with pytest.raises(IdempotencyConflict, match=first):
            core.submit_specs([other])
        assert core.state.live == 1

    def test_type_and_payload_do_not_run_into_each_other(self):
        core = Core()
        core.submit("a", b"b", idempotency_key="k")
        with pytest.raises(IdempotencyConflict):
            core.submit("ab", b"", idempotency_key="k")

    def test_a_key_holds_for_24_hours_however_the_job_ends(self):
        core = Core()
        first = core.submit(idempotency_key="k", retention_ms=1)
        core.complete(core.claim_one())
        core.advance(DAY_MS - 1)
        core.sweep()
        assert core.state.find(first) is None
        assert core.submit(idempotency_key="k") == first
        core.advance(1)
        assert core.submit(idempotency_key="k") != first
        core.check_replay()

    def test_a_key_twice_in_one_call(self):
        core = Core()
        first, second = core.submit_specs([spec(idempotency_key="k"), spec(idempotency_key="k")])
        assert second.job_id == first.job_id and second.deduplicated and not first.deduplicated
        with pytest.raises(IdempotencyConflict):
            core.submit_specs([spec(idempotency_key="n"), spec(payload=b"other", idempotency_key="n")])
        assert core.state.live == 1

    def test_their_number_is_limited(self):
        core = limited(idempotency_keys=2)
        first = core.submit(idempotency_key="a")
        core.submit(idempotency_key="b")
        with pytest.raises(QueueFull, match="idempotency_keys"):
            core.submit(idempotency_key="c")
        assert core.submit(idempotency_key="a") == first
        core.submit()
        core.advance(DAY_MS)
        core.sweep()
        core.submit(idempotency_key="c")
        core.check_replay()

    def test_a_refused_job_leaves_its_key_free(self):
        core = limited(jobs=1)
        core.submit()
        with pytest.raises(QueueFull, match="jobs"):
            core.submit(idempotency_key="k")
        core.complete(core.claim_one())
        (accepted,) = core.submit_specs([spec(payload=b"other", idempotency_key="k")])
        assert not accepted.deduplicated


class TestRequestIds:
    def test_a_repeated_call_answers_as_it_did(self):
        core = Core()
        specs = [spec("a", b"1"), spec("b", b"2")]
        first = core.submit_specs(specs, request_id="r")
        commits = len(core.log)
        assert core.submit_specs(specs, request_id="r") == first
        assert len(core.log) == commits and core.state.live == 2
        core.check_replay()

    def test_it_answers_so_even_when_its_jobs_are_gone(self):
        core = Core()
        first = core.submit_specs([spec(retention_ms=1)], request_id="r")
        core.complete(core.claim_one())
        core.advance(1)
        core.sweep()
        assert core.submit_specs([spec(retention_ms=1)], request_id="r") == first
        assert core.state.live == 0

    def test_other_jobs_under_the_same_request_id_are_refused(self):
        core = Core()
        core.submit_specs([spec("a"), spec("b")], request_id="r")
        for other in ([spec("a")], [spec("b"), spec("a")], [spec("ab"), spec("")]):
            with pytest.raises(IdempotencyConflict, match="request_id"):
                core.submit_specs(other, request_id="r")

    def test_it_is_remembered_for_ten_minutes(self):
        core = Core()
        first = core.submit_specs([spec()], request_id="r")
        core.advance(10 * MINUTE_MS - 1)
        core.sweep()
        assert core.submit_specs([spec()], request_id="r") == first
        core.advance(1)
        core.sweep()
        assert core.submit_specs([spec()], request_id="r") != first
        core.check_replay()

    def test_deduplicated_items_stay_deduplicated(self):
        core = Core()
        known = core.submit(idempotency_key="k")
        specs = [spec(idempotency_key="k"), spec(payload=b"new")]
        first = core.submit_specs(specs, request_id="r")
        assert [answer.deduplicated for answer in first] == [True, False] and first[0].job_id == known
        assert core.submit_specs(specs, request_id="r") == first
        only_known = core.submit_specs([spec(idempotency_key="k")], request_id="s")
        assert core.submit_specs([spec(idempotency_key="k")], request_id="s") == only_known
        core.check_replay()

    def test_items_refused_before_get_another_try_and_the_others_are_not_repeated(self):
        core = limited(jobs=2)
        specs = [spec(payload=b"1"), spec(payload=b"2"), spec(payload=b"3")]
        first = core.submit_specs(specs, atomic=False, request_id="r")
        assert isinstance(first[2], QueueFull)
        assert isinstance(core.submit_specs(specs, atomic=False, request_id="r")[2], QueueFull)
        core.complete(core.claim_one())
        again = core.submit_specs(specs, atomic=False, request_id="r")
        assert again[:2] == first[:2]
        assert core.submit_specs(specs, atomic=False, request_id="r") == again
        assert core.state.counters.submitted == 3
        core.check_replay()

    def test_a_call_that_was_refused_altogether_is_not_remembered(self):
        core = limited(jobs=1)
        core.submit()
        with pytest.raises(QueueFull):
            core.submit_specs([spec()], request_id="r")
        core.complete(core.claim_one())
        core.submit_specs([spec(payload=b"other")], request_id="r")
        assert core.state.live == 1


class TestLimits:
    def test_all_or_none(self):
        core = limited(jobs=2)
        with pytest.raises(QueueFull, match="jobs"):
            core.submit_specs([spec()] * 3)
        assert core.state.live == 0 and core.state.next_number == 1

    def test_item_by_item(self):
        core = limited(jobs=2)
        answers = core.submit_specs([spec()] * 3, atomic=False)
        assert isinstance(answers[2], QueueFull) and core.state.live == 2

    @pytest.mark.parametrize(("size", "fits"), [(100, True), (101, False)])
    def test_bytes_of_live_jobs(self, size, fits):
        core = limited(bytes=100)
        if fits:
            core.submit(payload=b"x" * size)
        else:
            with pytest.raises(QueueFull, match="bytes"):
                core.submit(payload=b"x" * size)
        assert core.state.live_bytes == (size if fits else 0)

    def test_type_key_and_metadata_count(self):
        core = Core()
        core.submit("type", b"payload", idempotency_key="key", metadata={"a": "bc"})
        assert core.state.live_bytes == len("type" + "payload" + "key" + "abc")

    def test_finished_jobs_make_room(self):
        core = limited(jobs=1)
        core.submit()
        core.complete(core.claim_one())
        core.submit()

    def test_promises_of_retention(self):
        core = limited(promised_jobs=1)
        core.submit(retention_ms=DAY_MS)
        with pytest.raises(QueueFull, match="promised_jobs"):
            core.submit(retention_ms=DAY_MS)
        core.submit()
        core.complete(core.claim_one())
        with pytest.raises(QueueFull, match="promised_jobs"):
            core.submit(retention_ms=DAY_MS)
        core.advance(DAY_MS)
        core.sweep()
        core.submit(retention_ms=DAY_MS)

    def test_bytes_of_promises(self):
        core = limited(promised_bytes=10)
        core.submit(retention_ms=DAY_MS)
        core.complete(core.claim_one(), result=b"x" * 10)
        with pytest.raises(QueueFull, match="promised_bytes"):
            core.submit(retention_ms=DAY_MS)
