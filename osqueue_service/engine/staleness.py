"""When a leader can no longer know that it leads, those who wait for it should wait elsewhere.

A leader that is cut off from its store hears of no successor. Its commits hang, and that
callers notice; but a long poll would be answered empty after a minute, and a refusal would
rest on a state that may be outdated.
"""

from collections.abc import Callable

from osqueue_service.clock import Clock, Timer
from osqueue_service.engine.term import Term
from osqueue_service.errors import NotLeader


def check_live(term: Term) -> None:
    """Raise `NotLeader` once another broker may lead."""
    if not term.is_live():
        raise NotLeader("this broker could not renew its leadership in time, so its answers may be stale")


class Vigil:
    """Watches the term while anybody waits, and sends all of them away when it may be over."""

    def __init__(
        self, term: Term, clock: Clock, anybody: Callable[[], bool], send_away: Callable[[NotLeader], None]
    ) -> None:
        self._term = term
        self._clock = clock
        self._anybody = anybody
        self._send_away = send_away
        self._timer: Timer | None = None

    def begin(self) -> None:
        """Somebody waits from now on. Idempotent."""
        if self._timer is None:
            # One millisecond more: a timer that fires early would find the term alive.
            self._timer = self._clock.call_later_ms(max(0.0, self._term.lease_left_ms()) + 1, self._look)

    def end(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        try:
            check_live(self._term)
        except NotLeader as refusal:
            self._send_away(refusal)
        else:
            if self._anybody():
                self.begin()
