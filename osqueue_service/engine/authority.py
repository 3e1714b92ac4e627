"""Whether this leader may still answer, and when what it says is certain.

A leader that is cut off from its store hears of no successor. Its commits hang, and that
callers notice; but a long poll would be answered empty after a minute, and a refusal would
rest on a state that may be outdated.
"""

from collections.abc import Callable

from osqueue_service.clock import Clock, Timer
from osqueue_service.engine.pipeline import Pipeline
from osqueue_service.engine.term import Term
from osqueue_service.errors import NotLeader, anew


class Authority:
    """One engine may answer until it is closed, and while no other broker can lead.

    Those who wait for something should wait elsewhere once that is over: while `anybody_waits`, the term is looked at,
    and `send_away` is called when it may be over. `callers_clock` measures how long callers wait.
    """

    def __init__(
        self,
        term: Term,
        pipeline: Pipeline,
        *,
        callers_clock: Clock,
        anybody_waits: Callable[[], bool],
        send_away: Callable[[NotLeader], None],
    ) -> None:
        self.refusal: NotLeader | None = None
        """What callers hear from when the engine was closed."""
        self._term = term
        self._pipeline = pipeline
        self._clock = callers_clock
        self._anybody_waits = anybody_waits
        self._send_away = send_away
        self._timer: Timer | None = None

    def check_open(self) -> None:
        """Raise the refusal once the engine is closed."""
        if self.refusal is not None:
            raise anew(self.refusal)

    def check_live(self) -> None:
        """Raise `NotLeader` once another broker may lead: what this one remembers could be outdated."""
        self.check_open()
        if (stale := self._stale()) is not None:
            raise stale

    async def settled(self) -> None:
        """Return when every change made so far is durable."""
        self.check_open()
        await self._pipeline.settled()

    def somebody_waits(self) -> None:
        """Look at the term from now on, until nobody waits. Idempotent."""
        if self._timer is None:
            # One millisecond more: a timer that fires early would find the term alive.
            self._timer = self._clock.call_later_ms(max(0.0, self._term.lease_left_ms()) + 1, self._look)

    def close(self, refusal: NotLeader) -> None:
        """The engine takes no more calls; all who wait are sent away."""
        self.refusal = refusal
        self._send_away(refusal)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if (stale := self._stale()) is not None:
            self._send_away(stale)
        elif self._anybody_waits():
            self.somebody_waits()

    def _stale(self) -> NotLeader | None:
        if self._term.is_live():
            return None
        return NotLeader("this broker could not renew its leadership in time, so its answers may be stale")
