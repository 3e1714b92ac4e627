"""Filters and pages over a real state: what matches, in order, each job once, within the caps."""

import pytest

from osqueue_service.errors import InvalidRequest
from osqueue_service.limits import DEFAULT_LIMITS, Limits
from osqueue_service.rpc.fields import TypeNames
from osqueue_service.rpc.filters import FINISHED, LIVE, Filter, read_filter
from osqueue_service.rpc.pages import Walk, page
from osqueue_service.rpc.violations import Violations
from osqueue_service.state.model import Job, Status
from osqueue_stubs.osqueue.v1 import job_pb2
from tests.core import Core

EVERYTHING = Filter(tuple(Status))


def matching(core: Core, filter: Filter) -> list[str]:
    found = page(core.state, filter, 0, 1_000, DEFAULT_LIMITS, lambda job: 0)
    assert found.next_after is None
    return [core.state.job_id(job) for job in found.jobs]


def read(*, allowed: tuple[Status, ...] = tuple(Status), **fields: object) -> Filter:
    wrong = Violations()
    found = read_filter(job_pb2.JobFilter(**fields), DEFAULT_LIMITS, TypeNames(128), wrong, allowed=allowed)
    wrong.check()
    return found


def refused(**fields: object) -> set[str]:
    with pytest.raises(InvalidRequest) as raised:
        read(**fields)
    return {violation.field for violation in raised.value.violations}


class TestFilters:
    def test_nothing_said_means_live_jobs(self):
        assert read() == Filter(LIVE)

    def test_each_field_of_the_message_is_read(self):
        assert read(
            statuses=["dead", "completed", "dead"],
            types=["a", ""],
            worker_id="w",
            created_from=1,
            created_before=2,
            metadata={"k": "v"},
            error_type="E",
        ) == Filter((Status.COMPLETED, Status.DEAD), frozenset({"a", ""}), "w", 1, 2, {"k": "v"}, "E")

    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({"statuses": ["running"]}, "filter.statuses[0]"),
            ({"statuses": ["dead"] * 7}, "filter.statuses"),
            ({"types": ["t"] * 129}, "filter.types"),
            ({"types": ["a b"]}, "filter.types[0]"),
            ({"worker_id": "w" * 129}, "filter.worker_id"),
            ({"created_from": -1}, "filter.created_from"),
            ({"created_before": -1}, "filter.created_before"),
            ({"metadata": {f"k{n}": "" for n in range(9)}}, "filter.metadata"),
            ({"error_type": "E" * 257}, "filter.error_type"),
            ({"error_type": "\n"}, "filter.error_type"),
        ],
    )
    def test_each_field_may_be_wrong(self, fields, named):
        assert refused(**fields) == {named}

    def test_a_call_may_be_for_some_statuses_only(self):
        with pytest.raises(InvalidRequest, match="must be one of completed, dead, cancelled"):
            read(allowed=FINISHED, statuses=["unclaimed"])

    def test_jobs_come_in_the_order_of_submission_whatever_their_status(self):
        core = Core()
        ids = [core.submit("t") for _ in range(5)]
        core.complete(core.claim_one())
        core.claim_one()
        assert matching(core, EVERYTHING) == ids
        assert matching(core, Filter(LIVE)) == ids[1:]

    def test_by_type_time_worker_labels_and_error(self):
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


class TestPages:
    def walk(self, core: Core, filter: Filter, size: int, limits: Limits = DEFAULT_LIMITS) -> list[list[str]]:
        pages, after = [], 0
        while after is not None:
            found = page(core.state, filter, after, size, limits, lambda job: len(job.spec.payload))
            pages.append([core.state.job_id(job) for job in found.jobs])
            after = found.next_after
        return pages

    def test_a_full_last_page_is_the_last(self):
        core = Core()
        ids = [core.submit() for _ in range(4)]
        assert self.walk(core, EVERYTHING, 2) == [ids[:2], ids[2:]]
        assert self.walk(core, EVERYTHING, 4) == [ids]

    def test_an_empty_queue_has_one_empty_page(self):
        assert self.walk(Core(), EVERYTHING, 10) == [[]]

    def test_bytes_end_a_page_but_one_job_always_fits(self):
        core = Core()
        ids = [core.submit(payload=b"x" * size) for size in (4, 4, 9, 1)]
        assert self.walk(core, EVERYTHING, 10, Limits(page_bytes=8)) == [ids[:2], ids[2:3], ids[3:]]

    def test_a_page_looks_at_a_bounded_number_of_jobs_and_may_be_empty(self):
        core = Core()
        ids = [core.submit("other") for _ in range(5)] + [core.submit("mine")]
        only_mine = Filter(LIVE, types=frozenset({"mine"}))
        assert self.walk(core, only_mine, 10, Limits(page_candidates=3)) == [[], ids[5:]]

    def test_a_walk_shows_each_job_that_matched_throughout_once(self):
        core = Core()
        ids = [core.submit() for _ in range(6)]
        first = page(core.state, Filter(LIVE), 0, 3, DEFAULT_LIMITS, lambda job: 0)
        core.claim_one()
        core.complete(core.claim_one())
        later = core.submit()
        assert first.next_after is not None
        second = page(core.state, Filter(LIVE), first.next_after, 9, DEFAULT_LIMITS, lambda job: 0)
        seen = [core.state.job_id(job) for job in [*first.jobs, *second.jobs]]
        assert seen == [*ids, later]


class TestTokens:
    def test_a_token_goes_on_where_the_page_ended(self):
        core = Core()
        walk = Walk("ListJobs", None)
        assert walk.start(core.state, "") == 0
        assert walk.start(core.state, walk.token(core.state, 41)) == 41

    @pytest.mark.parametrize("token", ["x", "%%%", "é", "AAAA", "k8QI" * 40, "\x00"])
    def test_what_is_no_token_is_refused(self, token):
        with pytest.raises(InvalidRequest, match="page_token"):
            Walk("ListJobs", None).start(Core().state, token)

    @pytest.mark.parametrize(
        "other",
        [
            Walk("CancelJobs", None),
            Walk("ListJobs", job_pb2.JobFilter(types=["a"])),
            Walk("ListJobs", None, job_pb2.JOB_VIEW_FULL),
        ],
    )
    def test_a_token_of_another_walk_is_refused(self, other):
        core = Core()
        with pytest.raises(InvalidRequest, match="another filter or view"):
            Walk("ListJobs", None).start(core.state, other.token(core.state, 1))

    def test_a_token_of_another_queue_is_refused(self):
        here, there = Core(), Core()
        there.state.salt = "other0"
        walk = Walk("ListJobs", None)
        with pytest.raises(InvalidRequest, match="another queue"):
            walk.start(here.state, walk.token(there.state, 1))


def test_candidates_are_read_from_the_rosters_in_order():
    core = Core()
    for _ in range(3):
        core.submit()
    core.claim_one()
    jobs: list[Job] = list(Filter(LIVE).candidates(core.state, 1))
    assert [job.number for job in jobs] == [2, 3]
