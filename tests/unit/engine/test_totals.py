"""Since when the oldest waiting job waits."""

from osqueue_service.engine.totals import type_totals_of
from tests.core import Core


def waited_ms(core: Core) -> int:
    (figures,) = type_totals_of(core.state)
    return core.now_ms - figures.ready_since


def test_a_job_that_comes_back_does_not_make_the_others_young():
    """It keeps its place, which is the first, but waits anew; the age fell to 0.8 s when two had waited 7 s."""
    core = Core()
    first, *_ = [core.submit("a") for _ in range(3)]
    (granted,) = core.claim()
    assert granted.job_id == first
    core.advance(6_200)
    core.release(granted)
    core.advance(800)
    assert waited_ms(core) == 7_000


def test_it_is_as_old_as_its_release_when_it_waits_alone():
    core = Core()
    core.submit("a")
    core.advance(6_200)
    (granted,) = core.claim()
    core.release(granted)
    core.advance(800)
    assert waited_ms(core) == 800


def test_a_dead_job_that_is_retried_waits_since_then():
    """It counted from the end of its last attempt, so that a retry after a week raised an alarm about the queue."""
    core = Core()
    job_id = core.submit("a", max_attempts=1)
    (granted,) = core.claim()
    core.fail(granted)
    core.advance(3_600_000)
    core.retry(job_id)
    core.advance(800)
    assert waited_ms(core) == 800
    (granted,) = core.claim()
    assert core.job(job_id).ready_since == core.now_ms - 800, "and so much it waited for its worker"
    core.advance(100)
    core.release(granted)
    assert waited_ms(core) == 0
