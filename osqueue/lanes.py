"""Claiming jobs as slots become free: one lane for the types that share a worker's slots, one for each with its own.

Where handlers are shorter than the way to the broker and back, a lane claims ahead: as many
jobs as its slots finish during one claim, so that slots need not wait and calls carry many
jobs. Handlers that take their time leave nothing to claim ahead; what was
claimed and did not get its turn soon goes back.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from osqueue.attempts import Attempt
from osqueue.dispatch import Dispatcher
from osqueue.job import ClaimedJob

UNSETTLED_PER_SLOT = 10
UNSETTLED_MIN = 1_000
"""Outcomes on their way to the broker, beyond which a lane stops claiming until they have arrived."""

AHEAD_MIN = 100
"""A lane claims ahead at most this many jobs, or as many as it has slots if those are more."""

HURRIED_MS = 10_000
"""Jobs with a timeout_ms below this are not claimed ahead: the broker counts from the claim until it hears when they
began, which would have to be said of each that stands in line."""

TURN_S = 0.5
"""A job claimed ahead that has not begun after this long is given back: another worker may be idle."""


class Lane:
    """`capacity` slots for jobs of these types (empty: any).

    `hold` takes a claimed job into care, `start` runs it; it calls `slot_freed` and `settled` when that is so.
    """

    def __init__(
        self,
        types: Sequence[str],
        capacity: int,
        dispatcher: Dispatcher,
        hold: Callable[[ClaimedJob, "Lane"], Attempt],
        start: Callable[[Attempt, "Lane"], None],
    ) -> None:
        self.types = tuple(types)
        self.capacity = capacity
        self.busy = 0
        self.unsettled = 0
        self.ready: deque[Attempt] = deque()
        self._clock = asyncio.get_running_loop().time
        self._ahead = 0
        self._hurried_until = float("-inf")
        self._freed = 0
        """Slots that became free since the last claim's answer, and for how long slots were taken since then."""
        self._busy_s = 0.0
        self._busy_since = self._clock()
        self._unsettled_max = max(UNSETTLED_PER_SLOT * capacity, UNSETTLED_MIN)
        self._dispatcher = dispatcher
        self._hold = hold
        self._start = start
        self._changed: asyncio.Future[None] | None = None
        self._turn: asyncio.TimerHandle | None = None

    async def run(self, *, until_idle: bool) -> None:
        """Take and start jobs until cancelled, or, if told so, until there are none and none runs."""
        await self._dispatcher.feed(self, until_idle=until_idle)

    @property
    def room(self) -> int:
        """How many jobs it may hold: those that run, and those claimed ahead."""
        return 0 if self.unsettled >= self._unsettled_max else self.capacity + self._ahead

    def take(self, jobs: Sequence[ClaimedJob], way_s: float | None) -> None:
        """Start as many of these as there are slots; the others wait. `way_s`: how long a slot's next job is on its way
        after the last one's end; None: nothing is claimed ahead."""
        self._ahead = 0 if way_s is None else self._needed(way_s)
        for job in jobs:
            if 0 < job.timeout_ms < HURRIED_MS:
                self._hurried_until = self._clock() + HURRIED_MS / 1_000
            self.ready.append(self._hold(job, self))
        self.unsettled += len(jobs)
        if self._clock() < self._hurried_until:
            self._ahead = 0
        self._freed, self._busy_s = 0, 0.0
        self._fill()

    def give_back(self) -> None:
        """Release what was claimed and has not begun. Each is started in order to be released."""
        ready, self.ready = self.ready, deque()
        for attempt in ready:
            self._occupy(1)
            attempt.drain()
            self._start(attempt, self)

    def waiting(self) -> Iterator[Attempt]:
        """Take what has not begun out of the line, last first. From any thread, for when this loop is blocked."""
        with contextlib.suppress(IndexError):
            while True:
                yield self.ready.pop()

    def slot_freed(self) -> None:
        """A handler has ended."""
        self._occupy(-1)
        self._freed += 1
        if self.ready:
            self._fill()
        self._wake()

    def settled(self) -> None:
        """A job's outcome has arrived."""
        self.unsettled -= 1
        self._wake()

    def _fill(self) -> None:
        while self.ready and self.busy < self.capacity:
            try:
                attempt = self.ready.popleft()
            except IndexError:  # another thread has just taken the last out of the line
                break
            self._occupy(1)
            self._start(attempt, self)
        self._set_clock()

    def _set_clock(self) -> None:
        if self._turn is None and self.ready:
            with contextlib.suppress(IndexError):
                self._turn = asyncio.get_running_loop().call_later(TURN_S, self._check_turn, self.ready[-1])

    def _check_turn(self, last: Attempt) -> None:
        """`last` was the last in line when the clock was set."""
        self._turn = None
        if last in self.ready:
            self._ahead = 0
            self.give_back()
        self._set_clock()

    def _occupy(self, slots: int) -> None:
        now = self._clock()
        self._busy_s += self.busy * (now - self._busy_since)
        self._busy_since = now
        self.busy += slots

    def _needed(self, claim_s: float) -> int:
        """How many jobs all slots together finish during one claim, if handlers take as long as lately."""
        most = max(self.capacity, AHEAD_MIN)
        if not self._freed:
            return 0
        handler_s = self._busy_s / self._freed
        return min(most, round(self.capacity * claim_s / handler_s)) if handler_s > 0 else most

    async def wanted(self) -> int:
        """How many jobs to claim, once that is worth a call."""
        while True:
            wanted = self.capacity + self._ahead - self.busy - len(self.ready)
            if wanted >= max(1, self._ahead // 2) and self.unsettled < self._unsettled_max:
                return wanted
            await self.change()

    async def change(self) -> None:
        """Returns when a slot has become free, or an outcome has arrived."""
        self._changed = asyncio.get_running_loop().create_future()
        try:
            await self._changed
        finally:
            self._changed = None

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
