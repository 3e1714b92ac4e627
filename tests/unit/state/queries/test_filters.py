"""Filters over a real state: what matches, in order."""

from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.state.model import LIVE, Job, Status
from osqueue_service.state.queries.filters import Filter
from osqueue_service.state.queries.pages import page
from tests.core import Core

EVERYTHING = Filter(tuple(Status))


def matching(core: Core, filter: Filter) -> list[str]:
    found = page(core.state, filter, 0, 1_000, DEFAULT_LIMITS, lambda job: 0)
    assert found.next_after is None
    return [core.state.job_id(job) for job in found.jobs]


def test_jobs_come_in_the_order_of_submission_whatever_their_status():
    core = Core()
    ids = [core.submit("t") for _ in range(5)]
    core.complete(core.claim_one())
    core.claim_one()
    assert matching(core, EVERYTHING) == ids
    assert matching(core, Filter(LIVE)) == ids[1:]


def test_by_type_time_worker_labels_and_error():
    core = Core()
    mail = core.submit("mail", metadata={"team": "a", "x": "1"})
    core.advance(10)
    plain = core.submit("")
    other = core.submit("other", metadata={"team": "b"})
    assert matching(core, Filter(LIVE, types=frozenset({"mail", ""}))) == [mail, plain]
    assert matching(core, Filter(LIVE, created_from=core.now_ms)) == [plain, other]
    assert matching(core, Filter(LIVE, created_before=core.now_ms)) == [mail]
    assert matching(core, Filter(LIVE, labels={"team": "a"})) == [mail]
    assert matching(core, Filter(LIVE, labels={"team": "a", "y": "1"})) == []
    core.fail(core.claim_one(worker_id="w7"), worker_id="w7", error_type="Boom")
    assert matching(core, Filter(LIVE, worker_id="w7")) == [mail]
    assert matching(core, Filter(LIVE, error_type="Boom")) == [mail]
    core.claim_one(worker_id="w8")
    assert matching(core, Filter(LIVE, worker_id="w7")) == []
    assert matching(core, Filter(LIVE, worker_id="w8")) == [mail]


def test_candidates_are_read_from_the_rosters_in_order():
    core = Core()
    for _ in range(3):
        core.submit()
    core.claim_one()
    jobs: list[Job] = list(Filter(LIVE).candidates(core.state, 1))
    assert [job.number for job in jobs] == [2, 3]
