"""Pages over a real state: each job once, within the caps."""

from osqueue_service.limits import DEFAULT_LIMITS, Limits
from osqueue_service.state.model import LIVE, Status
from osqueue_service.state.queries.filters import Filter
from osqueue_service.state.queries.pages import page
from tests.core import Core

EVERYTHING = Filter(tuple(Status))


def walk(core: Core, filter: Filter, size: int, limits: Limits = DEFAULT_LIMITS) -> list[list[str]]:
    pages, after = [], 0
    while after is not None:
        found = page(core.state, filter, after, size, limits, lambda job: len(job.spec.payload))
        pages.append([core.state.job_id(job) for job in found.jobs])
        after = found.next_after
    return pages


def test_a_full_last_page_is_the_last():
    core = Core()
    ids = [core.submit() for _ in range(4)]
    assert walk(core, EVERYTHING, 2) == [ids[:2], ids[2:]]
    assert walk(core, EVERYTHING, 4) == [ids]


def test_an_empty_queue_has_one_empty_page():
    assert walk(Core(), EVERYTHING, 10) == [[]]


def test_bytes_end_a_page_but_one_job_always_fits():
    core = Core()
    ids = [core.submit(payload=b"x" * size) for size in (4, 4, 9, 1)]
    assert walk(core, EVERYTHING, 10, Limits(page_bytes=8)) == [ids[:2], ids[2:3], ids[3:]]


def test_a_page_looks_at_a_bounded_number_of_jobs_and_may_be_empty():
    core = Core()
    ids = [core.submit("other") for _ in range(5)] + [core.submit("mine")]
    only_mine = Filter(LIVE, types=frozenset({"mine"}))
    assert walk(core, only_mine, 10, Limits(page_candidates=3)) == [[], ids[5:]]


def test_a_walk_shows_each_job_that_matched_throughout_once():
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
