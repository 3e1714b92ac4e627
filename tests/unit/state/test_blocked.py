"""A blocked job is live, waits in no line, and is never taken for a waiting one."""

import pytest

from osqueue_service.engine.totals import totals_of, type_totals_of
from osqueue_service.state import image
from osqueue_service.state.invariants import check
from osqueue_service.state.model import FINISHED, LIVE, Status
from osqueue_service.state.queries.explanations import Serving, Why, explain
from osqueue_service.state.queries.filters import Filter
from osqueue_service.state.seed_shape import seed_job
from osqueue_service.state.state import State
from tests.core import Core, submit_blocked


@pytest.fixture
def core() -> Core:
    """One job that waits, and one that is blocked."""
    core = Core()
    submit_blocked(core, "a")
    return core


def blocked(core: Core) -> str:
    return core.state.job_id(core.state.jobs[2])


def test_every_status_is_live_or_finished_whatever_its_number() -> None:
    assert LIVE == (Status.UNCLAIMED, Status.SCHEDULED, Status.IN_PROGRESS, Status.BLOCKED)
    assert FINISHED == (Status.COMPLETED, Status.DEAD, Status.CANCELLED)


def test_the_stored_numbers_stay_what_they_were() -> None:
    assert [status.value for status in Status] == [0, 1, 2, 3, 4, 5, 6]
    assert Status.BLOCKED == 6 and Status.BLOCKED.wire == "blocked"


def test_it_is_counted_live_and_by_itself(core: Core) -> None:
    totals = totals_of(core.state)
    assert (totals.live, totals.unclaimed, totals.blocked) == (2, 1, 1)
    (of_type,) = type_totals_of(core.state)
    assert (of_type.counts[Status.UNCLAIMED], of_type.counts[Status.BLOCKED]) == (1, 1)
    assert core.state.live == 2


def test_it_is_not_handed_out(core: Core) -> None:
    assert [granted.number for granted in core.claim(max_jobs=2)] == [1]


def test_it_is_cancelled_at_once_as_a_waiting_one_is(core: Core) -> None:
    assert core.cancel(blocked(core)) is Status.CANCELLED
    assert core.status(blocked(core)) is Status.CANCELLED


def test_it_can_be_purged(core: Core) -> None:
    core.purge(blocked(core))
    assert core.state.live == 1


def test_a_filter_finds_it(core: Core) -> None:
    assert [job.number for job in Filter((Status.BLOCKED,)).candidates(core.state, 0)] == [2]
    assert [job.number for job in Filter(LIVE).candidates(core.state, 0)] == [1, 2]


def test_the_old_form_never_calls_it_unclaimed(core: Core) -> None:
    shown = [seed_job(core.state, core.state.jobs[number])["status"] for number in (1, 2)]
    assert shown == ["unclaimed", "blocked"]


def test_it_says_why_it_does_not_run(core: Core) -> None:
    why = explain(core.state, core.job(blocked(core)), lambda name: Serving(1, False))
    first = core.state.id_of_number(1)
    assert why.reasons == [Why.UNIQUE_HELD, Why.BLOCKED]
    assert why.message == (
        f"It is blocked: it takes over the unique key 'one' when its holder has ended, {first}, which is unclaimed."
    )
    assert why.blocked_by == [first]


def test_an_image_keeps_it(core: Core) -> None:
    loaded = State()
    image.load(loaded, image.encode(core.state))
    check(loaded)
    assert loaded.jobs[2].status is Status.BLOCKED
    assert image.encode(loaded) == image.encode(core.state)
