"""What those who follow the state hear of: each job that enters a status or leaves one, and why."""

import pytest

from osqueue_service.engine.events import KINDS
from osqueue_service.state.model import Status
from osqueue_service.state.moves import Cause, holders_doing
from tests.core import Core

UNCLAIMED, SCHEDULED, RUNNING = Status.UNCLAIMED, Status.SCHEDULED, Status.IN_PROGRESS


class Followed(Core):
    """A core whose moves are looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.state.moves = []

    def moved(self) -> list[tuple[int, Status | None, Status | None, Cause]]:
        """The moves since the last call: number, from, to, why."""
        moves, self.state.moves = self.state.moves or [], []
        return [(job.number, move.source, move.target, move.cause) for move in moves for job in move.jobs]


@pytest.fixture
def core() -> Followed:
    return Followed()


def test_a_life_is_told_step_by_step(core: Followed) -> None:
    core.submit()
    assert core.moved() == [(1, None, UNCLAIMED, Cause.SUBMITTED)]
    lease = core.claim_one()
    assert core.moved() == [(1, UNCLAIMED, RUNNING, Cause.CLAIMED)]
    core.fail(lease, retry_delay_ms=10)
    assert core.moved() == [(1, RUNNING, SCHEDULED, Cause.FAILED)]
    core.advance(10)
    core.sweep()
    assert core.moved() == [(1, SCHEDULED, UNCLAIMED, Cause.PROMOTED)]
    core.complete(core.claim_one())
    assert core.moved()[1:] == [(1, RUNNING, Status.COMPLETED, Cause.COMPLETED)]
    core.advance(core.limits.default_retention_ms)
    core.sweep()
    assert core.moved() == [(1, Status.COMPLETED, None, Cause.EVICTED)]


def test_an_ended_attempt_says_how_it_ended_and_where_the_job_went(core: Followed) -> None:
    core.submit(max_attempts=2, timeout_ms=100)
    core.release(core.claim_one())
    core.expire(core.claim_one())
    core.claim_one()
    core.advance(100)
    core.sweep()
    ends = [move for move in core.moved() if move[1] is RUNNING]
    assert ends == [
        (1, RUNNING, UNCLAIMED, Cause.RELEASED),
        (1, RUNNING, UNCLAIMED, Cause.EXPIRED),
        (1, RUNNING, Status.DEAD, Cause.TIMED_OUT),
    ]


def test_a_running_job_that_is_asked_to_stop_stays_where_it_is(core: Followed) -> None:
    job_id = core.submit()
    lease = core.claim_one()
    core.moved()
    core.cancel(job_id)
    core.release(lease)
    assert core.moved() == [
        (1, RUNNING, RUNNING, Cause.CANCEL_REQUESTED),
        (1, RUNNING, Status.CANCELLED, Cause.RELEASED),
    ]


def test_operators_move_jobs_too(core: Followed) -> None:
    dead, waiting = core.submit(), core.submit()
    core.fail(core.claim_one(), retryable=False)
    core.moved()
    core.retry(dead)
    core.cancel(waiting)
    core.purge(waiting)
    assert core.moved() == [
        (1, Status.DEAD, UNCLAIMED, Cause.RETRIED),
        (2, UNCLAIMED, Status.CANCELLED, Cause.CANCELLED),
        (2, Status.CANCELLED, None, Cause.PURGED),
    ]


def test_a_removed_job_can_still_be_read_as_it_was(core: Followed) -> None:
    job_id = core.submit(run_at=core.now_ms + 1_000)
    core.moved()
    core.purge(job_id)
    (move,) = core.state.moves or []
    (job,) = move.jobs
    assert (job.status, job.due_at) == (SCHEDULED, core.now_ms + 1_000)


def test_what_moves_nothing_tells_nothing(core: Followed) -> None:
    core.pause("a")
    core.resume("a")
    assert core.moved() == []


def test_a_replay_tells_nobody(core: Followed) -> None:
    core.submit()
    assert core.rebuilt().moves is None


def test_every_cause_is_told_to_watchers_and_known_as_the_holders_doing_or_not() -> None:
    assert set(KINDS) == set(Cause)
    assert {cause for cause in Cause if holders_doing(cause)} == {
        Cause.CLAIMED,
        Cause.COMPLETED,
        Cause.FAILED,
        Cause.RELEASED,
    }
