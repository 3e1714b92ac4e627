"""Pages over a real state: each job once, within the caps."""

from osqueue_service.limits import DEFAULT_LIMITS, Limits
from osqueue_service.state.batch_commands import OpenBatch
from osqueue_service.state.batches import BatchSpec
from osqueue_service.state.model import LIVE, InSequence, MoreOfSpec, Status
from osqueue_service.state.queries.filters import Filter
from osqueue_service.state.queries.pages import Order, page
from osqueue_service.state.unique import Unique
from tests.core import Core

EVERYTHING = Filter(tuple(Status))


def walk(
    core: Core, filter: Filter, size: int, limits: Limits = DEFAULT_LIMITS, order: Order = Order.OLDEST
) -> list[list[str]]:
    pages, after = [], 0
    while after is not None:
        found = page(core.state, filter, after, size, limits, lambda job: len(job.spec.payload), order)
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


def test_the_newest_come_first_in_every_status_and_on_every_page():
    core = Core()
    ids = [core.submit() for _ in range(7)]
    core.claim(max_jobs=2)
    core.complete(core.claim_one())
    ids.append(core.submit(run_at=core.now_ms + 5))
    newest = list(reversed(ids))
    assert walk(core, EVERYTHING, 3, order=Order.NEWEST) == [newest[:3], newest[3:6], newest[6:]]
    assert walk(core, Filter(LIVE), 9, order=Order.NEWEST) == [[job_id for job_id in newest if job_id != ids[2]]]
    assert walk(core, EVERYTHING, 9, Limits(page_candidates=5), Order.NEWEST) == [newest[:5], newest[5:]]


def test_a_walk_from_the_newest_shows_nothing_twice_while_jobs_come_and_go():
    core = Core()
    ids = [core.submit() for _ in range(4)]
    first = page(core.state, Filter(LIVE), 0, 2, DEFAULT_LIMITS, lambda job: 0, Order.NEWEST)
    core.submit()
    core.complete(core.claim_one())
    assert first.next_after is not None
    second = page(core.state, Filter(LIVE), first.next_after, 9, DEFAULT_LIMITS, lambda job: 0, Order.NEWEST)
    assert [core.state.job_id(job) for job in [*first.jobs, *second.jobs]] == [ids[3], ids[2], ids[1]]


def test_members_of_a_batch_and_of_a_sequence_come_newest_first_too():
    core = Core()
    behind = [core.submit(more=MoreOfSpec(sequence=InSequence("s"))) for _ in range(3)]
    number = core.do(OpenBatch(BatchSpec("b"))).number
    members = [core.submit(more=MoreOfSpec(batch=number)) for _ in range(3)]
    in_sequence = Filter(LIVE, sequence_key="s")
    assert walk(core, in_sequence, 2, order=Order.NEWEST) == [[behind[2], behind[1]], [behind[0]]]
    in_batch = Filter(LIVE, batch_id=core.state.ids.of(number))
    assert walk(core, in_batch, 2, order=Order.NEWEST) == [[members[2], members[1]], [members[0]]]


def test_scheduled_jobs_come_by_the_time_at_which_they_run():
    core = Core()
    at = {name: core.submit(run_at=core.now_ms + later) for name, later in (("b", 20), ("c", 30), ("a", 10), ("d", 30))}
    core.submit()
    scheduled = Filter((Status.SCHEDULED,))
    assert walk(core, scheduled, 3, order=Order.SOONEST) == [[at["a"], at["b"], at["c"]], [at["d"]]]
    core.cancel(at["b"])
    assert walk(core, scheduled, 9, order=Order.SOONEST) == [[at["a"], at["c"], at["d"]]]


def test_by_the_time_at_which_they_run_come_those_of_the_filter_alone():
    core = Core()
    later = {"run_at": core.now_ms + 10}
    number = core.do(OpenBatch(BatchSpec("b"))).number
    member = core.submit(more=MoreOfSpec(batch=number), **later)
    first = core.submit(more=MoreOfSpec(sequence=InSequence("s")), **later)
    single = core.submit(more=MoreOfSpec(unique=Unique("u")), **later)
    core.submit(**later)
    scheduled = (Status.SCHEDULED,)
    for expected, chosen in (
        (member, Filter(scheduled, batch_id=core.state.ids.of(number))),
        (first, Filter(scheduled, sequence_key="s")),
        (single, Filter(scheduled, unique_key="u")),
    ):
        assert walk(core, chosen, 9, order=Order.SOONEST) == [[expected]]
    for nobody in (
        Filter(scheduled, workflow_id=core.state.ids.of(number)),
        Filter(scheduled, workflow_id=core.state.ids.of(number), batch_id=core.state.ids.of(number)),
    ):
        assert walk(core, nobody, 9, order=Order.SOONEST) == [[]]
