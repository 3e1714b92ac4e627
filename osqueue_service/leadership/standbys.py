"""Who stands by, as the leader of a term knows it: so that it leaves when somebody can go on at once.

Nothing rests on it. A standby that the leader does not know of finds the root without a leader all the same, a little
later; one that is known and fails is missed by nobody. Storage alone says who leads.
"""

import asyncio
from collections.abc import Callable, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass

from osqueue_service.clock import Clock
from osqueue_service.errors import TooManyRequests
from osqueue_service.limits import SECOND_MS

READY_COMMITS = 100
"""A standby that has so little left to read is ready to take over: that takes a fifth of a second or so, and waiting
until less is left might take longer."""
READY_MORE_PER_S = 100
"""How many more for each second that the leader has waited: a standby that is hardly faster than the commits that come
reads what is left sooner when no more come."""
STUCK_MS = 10_000
"""A standby that has read nothing for this long, though there is something, is not waited for. Loading a checkpoint of
a million jobs takes less."""
_LOOK_MS = 1_000


@dataclass(slots=True, eq=False)
class Standby:
    """One that attends: where it is reached, how far it has followed the log, and when it last got on."""

    address: str
    followed: int
    advanced_ms: float
    release: str = ""
    """"": one before brokers said so."""
    features: frozenset[str] = frozenset()
    """What it understands."""


class Standbys:
    """Those that attend a leader for the length of its term, at most `most`."""

    def __init__(self, clock: Clock, most: int) -> None:
        self.leaving = asyncio.Event()
        """Set when the leader means to leave: standbys shall follow closely."""
        self.over = asyncio.Event()
        """Set when the term is over: standbys shall look at the root."""
        self.chosen: Standby | None = None
        """Whom the leader waited for."""
        self._clock = clock
        self._most = most
        self._attending: list[Standby] = []
        self._news = asyncio.Event()

    def __len__(self) -> int:
        return len(self._attending)

    @property
    def attending(self) -> Sequence[Standby]:
        return tuple(self._attending)

    def enter(self, address: str, followed: int, release: str = "", features: frozenset[str] = frozenset()) -> Standby:
        """A standby that attends from now on; `leave` is owed to it. `followed` 0: it has no state yet."""
        if len(self._attending) >= self._most:
            raise TooManyRequests(
                f"{self._most} standbys attend, which is the limit (standbys): this one watches the root alone",
                retry_after_ms=_LOOK_MS,
            )
        standby = Standby(address, followed, self._clock.monotonic_ms(), release, features)
        self._attending.append(standby)
        self._news.set()
        return standby

    def leave(self, standby: Standby) -> None:
        """It has stopped attending."""
        self._attending.remove(standby)
        self._news.set()

    def advance(self, standby: Standby, followed: int) -> None:
        """It has followed the log up to this commit."""
        if followed != standby.followed:
            standby.followed, standby.advanced_ms = followed, self._clock.monotonic_ms()
            self._news.set()

    def end(self) -> None:
        """The term is over, whoever ended it."""
        self.leaving.set()
        self.over.set()
        self._news.set()

    async def successor(
        self, sequence: Callable[[], int], limit_ms: float, needs: Set[str] = frozenset()
    ) -> Standby | None:
        """Ask all to follow closely, and return the first that has all but the last few commits up to `sequence()`.

        `needs` are the features of the queue: a standby that lacks one cannot lead it. None, as soon as it is
        certain that there will be none: nobody attends, nobody gets on, or the term is over; and after `limit_ms`.
        """
        clock = self._clock
        began_ms = clock.monotonic_ms()
        for standby in self._attending:
            standby.advanced_ms = max(standby.advanced_ms, began_ms)
        self.leaving.set()
        while not self.over.is_set():
            now_ms = clock.monotonic_ms()
            few = READY_COMMITS + READY_MORE_PER_S * (now_ms - began_ms) / SECOND_MS
            if (ready := self._ready(sequence() - int(few), needs)) is not None:
                self.chosen = ready
                return ready
            able = [each for each in self._attending if needs <= each.features]
            hopeful = any(now_ms - each.advanced_ms < STUCK_MS for each in able)
            if not hopeful or now_ms - began_ms >= limit_ms:
                return None
            self._news.clear()
            with suppress(TimeoutError):  # then it is time to look whether anybody still gets on
                await clock.within_ms(min(_LOOK_MS, began_ms + limit_ms - now_ms), self._news.wait())
        return None

    def _ready(self, sequence: int, needs: Set[str]) -> Standby | None:
        """The best, if it has followed so far. One that has followed nothing has no state to go on from."""
        able = (each for each in self._attending if needs <= each.features)
        best = max(able, key=lambda each: each.followed, default=None)
        return best if best is not None and best.followed >= max(sequence, 1) else None
