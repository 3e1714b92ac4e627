"""What metrics count by type: how often, how long, and of how many types."""

from typing import Any

from osqueue_service.engine.codec import replay
from osqueue_service.engine.figures import Figures
from osqueue_service.engine.type_tallies import OTHERS, TYPE_IDLE_MS, TypeTallies, TypeTally
from osqueue_service.state.state import State
from tests.core import Core


class Counted:
    """A queue in memory whose moves are counted."""

    def __init__(self, limit: int = 10) -> None:
        self.core = Core()
        self.state = State()
        self.state.moves = []
        self.tallies = TypeTallies(limit, self.state.type_counts)
        self._figures = Figures(lambda: 0, self.tallies)
        self._seen = 0

    def of(self, type_name: str) -> TypeTally:
        """Its tally once all that the queue did so far is counted."""
        for commit in self.core.log[self._seen :]:
            replay(self.state, commit)
            moves, self.state.moves = self.state.moves, []
            self._figures.follow(moves, self.core.now_ms)
        self._seen = len(self.core.log)
        return dict(self.tallies).get(type_name, self.tallies.others)

    def submit(self, *types: str, **fields: Any) -> None:
        for name in types:
            self.core.submit(name, **fields)
            self.of(name)


def test_jobs_are_counted_by_what_becomes_of_them() -> None:
    queue = Counted()
    queue.submit("a", "a", "b")
    queue.core.advance(2_000)
    first, second = queue.core.claim(types=["a"], max_jobs=2)
    queue.of("a")
    queue.core.advance(7_000)
    queue.core.complete(first)
    tally = queue.of("a")
    queue.core.release(second)
    tally = queue.of("a")
    assert (tally.submitted, tally.claimed, tally.died) == (2, 2, 0)
    assert +tally.attempts == {"completed": 1, "released": 1}
    assert (tally.wait.sum_s, sum(tally.wait.counts)) == (4, 2)
    assert (tally.run.sum_s, sum(tally.run.counts)) == (14, 2)
    assert (queue.of("b").submitted, queue.of("b").claimed) == (1, 0)


def test_a_job_that_fails_for_the_last_time_dies() -> None:
    queue = Counted()
    queue.submit("a", max_attempts=1)
    (granted,) = queue.core.claim()
    queue.core.fail(granted)
    assert (queue.of("a").attempts["failed"], queue.of("a").died) == (1, 1)


def test_types_of_one_record_are_told_apart() -> None:
    queue = Counted()
    queue.submit("a", "b", "a")
    queue.core.claim(max_jobs=3)
    assert (queue.of("a").claimed, queue.of("b").claimed) == (2, 1)


def test_types_beyond_the_limit_are_counted_together() -> None:
    queue = Counted(limit=2)
    queue.submit("a", "b", "c", "d")
    assert [name for name, _ in queue.tallies] == ["a", "b"]
    assert queue.tallies.others.submitted == 2


def test_a_type_that_rests_makes_room_and_its_figures_stay_among_the_others() -> None:
    alive = {"a", "b"}
    tallies = TypeTallies(2, alive)
    tallies.know("a", 1).submitted = 5
    tallies.know("b", 2).submitted = 7
    assert tallies.know("c", TYPE_IDLE_MS) is tallies.others, "a rests for less than an hour"
    assert tallies.know("c", TYPE_IDLE_MS + 1) is tallies.others, "a has jobs"
    alive.remove("b")
    assert tallies.know("c", TYPE_IDLE_MS + 2) is not tallies.others
    assert [name for name, _ in tallies] == ["a", "c"]
    assert tallies.others.submitted == 7


def test_a_type_that_moves_keeps_its_place() -> None:
    tallies = TypeTallies(1, set())
    tallies.know("a", 1)
    tallies.know("a", TYPE_IDLE_MS)
    assert tallies.know("b", TYPE_IDLE_MS + 1) is tallies.others


def test_a_type_called_as_the_others_are_is_one_of_them() -> None:
    queue = Counted()
    assert queue.tallies.know(OTHERS, 1) is queue.tallies.others
    assert OTHERS not in dict(queue.tallies)
