"""What is due without anybody asking: leases that end, jobs to promote, things to let go."""

from osqueue_service.clock import Clock
from osqueue_service.engine.alarm import Alarm
from osqueue_service.engine.leases import LeaseTable
from osqueue_service.engine.queue_time import QueueTime
from osqueue_service.engine.settings import EngineSettings
from osqueue_service.ids import IdSource
from osqueue_service.limits import Limits
from osqueue_service.state.commands import Sweep
from osqueue_service.state.state import State
from osqueue_service.state.sweeping import is_due

STALL_MS = 500
"""Leases that are over for longer than this were not noticed in time: the process was stopped, or very busy."""
GRACE_MS = 1_000
"""After a stall, leases live on for so long: the heartbeats that arrived meanwhile still wait to be read."""


class Agenda:
    """Says when a sweep is needed, and sets the alarm for the next one."""

    def __init__(
        self,
        state: State,
        leases: LeaseTable,
        *,
        clock: Clock,
        time: QueueTime,
        ids: IdSource,
        alarm: Alarm,
        limits: Limits,
        settings: EngineSettings,
    ) -> None:
        self._state = state
        self._leases = leases
        self._clock = clock
        self._time = time
        self._ids = ids
        self._alarm = alarm
        self._limits = limits
        self._lapse_interval_ms = settings.lapse_interval_ms
        self._swept_at = clock.monotonic_ms()
        self._grace_until: float | None = None

    def is_pressing(self) -> bool:
        """Whether something is due that is worth a commit of its own. If not, the alarm is set for when it will be."""
        monotonic, now_ms = self._clock.monotonic_ms(), self._time.now_ms()
        expiry = self._next_expiry(monotonic)
        urgent, lapse = self._state.next_urgent_ms(), self._state.next_lapse_ms()
        moments = [expiry] if expiry is not None else []
        if urgent is not None:
            moments.append(monotonic + (urgent - now_ms))
        if lapse is not None:
            # What can be let go waits for a commit that happens anyway, but not for ever.
            moments.append(max(monotonic + (lapse - now_ms), self._swept_at + self._lapse_interval_ms))
        if not moments:
            return False
        earliest = min(moments)
        if earliest <= monotonic:
            return True
        # One millisecond more: moments are whole milliseconds, and a timer that fires early finds nothing due.
        self._alarm.set(earliest + 1)
        return False

    def sweep(self, now_ms: int, *, forget: bool) -> Sweep | None:
        """The command that does what is due at this commit; None when nothing is. `forget`: keys may be forgotten."""
        monotonic = self._clock.monotonic_ms()
        limit = self._limits.sweep_jobs
        expiry = self._next_expiry(monotonic)
        expired = self._leases.expired(int(monotonic), limit) if expiry is not None and expiry <= monotonic else []
        if not expired and not is_due(self._state, now_ms, self._limits):
            return None
        self._swept_at = monotonic
        timeouts = self._state.timeouts.next_ms()
        overdue = limit if timeouts is not None and timeouts <= now_ms else 0
        jitters = [self._ids.jitter() for _ in range(len(expired) + overdue)]
        return Sweep(expired, jitters, limit, forget)

    def _next_expiry(self, monotonic: float) -> float | None:
        """The moment at which to expire leases: when the first one is over, or after a stall a little later."""
        expiry = self._leases.next_expiry()
        if expiry is None or expiry > monotonic:
            self._grace_until = None
            return None if expiry is None else float(expiry)
        if self._grace_until is None and monotonic - expiry > STALL_MS:
            self._grace_until = monotonic + GRACE_MS
        return float(expiry) if self._grace_until is None else self._grace_until
