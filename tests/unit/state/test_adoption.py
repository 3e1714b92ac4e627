"""Taking over a queue that the first osqueue left in `queue.json`."""

from dataclasses import replace

import msgspec
import pytest

from osqueue_service.errors import JobNotFound, LeaseLost
from osqueue_service.state import image
from osqueue_service.state.adoption import NotAdoptable, adopt
from osqueue_service.state.commands import Granted
from osqueue_service.state.invariants import check
from osqueue_service.state.model import Status
from osqueue_service.state.seed_shape import seed_job
from osqueue_service.state.state import State
from tests.core import Core, spec

WAITING = {"id": "a-1", "status": "unclaimed", "payload": {"n": 1}, "createdAt": 5, "attempts": 1}
RUNNING = {
    "id": "b-2", "status": "in_progress", "payload": "text", "createdAt": 6, "attempts": 2, "maxAttempts": 2,
    "type": "mail", "workerId": "w1", "heartbeat": 7,
}  # fmt: skip


def adopted(*jobs, completed_total: int = 0) -> Core:
    core = Core()
    core.state = State()
    adopt(core.state, [msgspec.json.encode(job) for job in jobs], completed_total)
    check(core.state)
    return core


def test_jobs_keep_their_ids_order_attempts_and_worker():
    core = adopted(RUNNING, WAITING, completed_total=7)
    assert [core.state.job_id(job) for job in core.state.jobs.values()] == ["b-2", "a-1"]
    waiting, running = core.job("a-1"), core.job("b-2")
    assert (waiting.status, waiting.attempts, waiting.created_at) == (Status.UNCLAIMED, 1, 5)
    assert waiting.spec.payload == b'{"n":1}'
    assert (running.status, running.spec.type, running.spec.max_attempts) == (Status.IN_PROGRESS, "mail", 2)
    assert running.lease is not None and running.lease.worker_id == "w1"
    assert core.state.counters.submitted == 9 and core.state.counters.completed == 7


def test_its_worker_goes_on_without_a_token():
    core = adopted(RUNNING)
    granted = core.job("b-2").lease
    assert granted is not None
    core.advance(1)
    with pytest.raises(LeaseLost):
        core.complete(_claimed("b-2"), "w2")
    core.complete(_claimed("b-2"), "w1")
    assert core.status("b-2") is Status.COMPLETED


def test_attempts_go_on_being_counted():
    core = adopted(RUNNING)
    assert core.fail(_claimed("b-2"), "w1").status is Status.DEAD


def test_a_completion_is_answered_again_though_the_job_is_no_longer_kept():
    """Found by simulation: with the job its id was forgotten, and the repetition met JOB_NOT_FOUND."""
    core = adopted(WAITING)
    core.limits = replace(core.limits, finished_jobs=0)
    granted = core.claim_one("w1")
    core.complete(granted, "w1")
    core.sweep()
    assert core.state.find("a-1") is None
    core.complete(granted, "w1")
    with pytest.raises(JobNotFound):
        core.complete(msgspec.structs.replace(granted, token="another"), "w1")


def test_new_jobs_come_behind_and_ids_do_not_meet():
    core = adopted(WAITING)
    new = core.submit_specs([spec()])[0].job_id
    assert core.order() == ["a-1", new]
    assert core.state.find(core.state.id_of_number(1)) is None, "an adopted job has one name only"


def test_whoever_adopts_them_builds_the_same_bytes():
    assert image.encode(adopted(RUNNING, WAITING).state) == image.encode(adopted(RUNNING, WAITING).state)


def test_a_payload_is_kept_to_the_letter():
    core = Core()
    core.state = State()
    text = b'{"id": "a", "status": "unclaimed", "payload": {"big": 12345678901234567890123, "x":  1.0}}'
    adopt(core.state, [text], 0)
    assert core.job("a").spec.payload == b'{"big": 12345678901234567890123, "x":  1.0}'


def test_an_empty_queue_can_be_adopted():
    core = adopted(completed_total=3)
    assert core.state.salt and core.state.live == 0


def test_it_survives_a_checkpoint():
    core = adopted(RUNNING, WAITING)
    parts = image.encode(core.state)
    state = State()
    image.load(state, parts)
    check(state)
    assert image.encode(state) == parts
    assert state.get("a-1").spec.id == "a-1"


def test_what_it_shows_is_what_it_adopted():
    core = adopted(WAITING)
    shown = seed_job(core.state, core.job("a-1"))
    assert {**shown, "payload": None} == {**WAITING, "payload": None}


def test_a_number_written_with_a_fraction_of_zero_is_a_number():
    assert adopted({**WAITING, "createdAt": 5.0}).job("a-1").created_at == 5


@pytest.mark.parametrize(
    ("damaged", "named"),
    [
        ({**WAITING, "id": 7}, "jobs[0].id"),
        ({**WAITING, "status": "lost"}, "jobs[0].status"),
        ({**WAITING, "attempts": "1"}, "jobs[0].attempts"),
        ({**WAITING, "attempts": True}, "jobs[0].attempts"),
        ({key: value for key, value in WAITING.items() if key != "id"}, "jobs[0].id"),
    ],
)
def test_what_cannot_be_adopted_is_named(damaged, named):
    with pytest.raises(NotAdoptable) as refusal:
        adopted(damaged)
    assert named in str(refusal.value)


def test_an_id_that_is_there_twice_is_named():
    with pytest.raises(NotAdoptable, match="twice"):
        adopted(WAITING, WAITING)


def _claimed(job_id: str) -> Granted:
    """What a worker of the first osqueue knows of its lease: nothing but the job."""
    return Granted(job_id, 0, spec(), "", 1, 30_000, 0, 3)
