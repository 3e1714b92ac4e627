"""When to sweep: the table of what is due (state/due.py), asked once after each commit.

The state changes in commits only, so what the table said then holds until the next one, and
whoever wants to know whether something is due compares the clock with it. Leases are the one
row whose moments are not in the state: heartbeats move them.
"""

from collections.abc import Callable
from dataclasses import replace

from osqueue_service.clock import Clock
from osqueue_service.engine.leases import LeaseTable
from osqueue_service.engine.settings import EngineSettings
from osqueue_service.engine.term import Term
from osqueue_service.engine.timing import Alarm, Moment
from osqueue_service.ids import IdSource
from osqueue_service.limits import Limits
from osqueue_service.state.commands import Sweep
from osqueue_service.state.due import LEASES, LET_GO, Outlook, Row, look
from osqueue_service.state.state import State

STALL_MS = 500
"""Leases that are over for longer than this were not noticed in time: the process was stopped, or very busy."""
GRACE_MS = 1_000
"""How long leases live on after a stall: the heartbeats that arrived meanwhile still wait to be read."""
LOOK_AGAIN_MS = 500
"""How often a leader that may be deposed looks whether it is live again, while leases wait to be judged by that."""

LOOK_AT_WALL_MS = 60_000
"""How often at least the wall clock is looked at while schedules wait for it: it may be set."""

REFILED_MAX = 1_000
"""Renewed leases that are filed under their new moment in one step, which takes a few milliseconds: after a takeover or
a lapse all of them may have to be, a million of them."""

SPACING_MS = 50
"""Where commits are further apart than this, each sweeps more in proportion; and where far more is kept than a cap,
sweeps follow each other at this distance even if nothing else is committed."""
MORE_MS = 1_000
"""The same where more has lapsed than one sweep can let go: a queue that is idle lets 2,000 jobs go each second."""


class FruitlessSweep(Exception):
    """Something is due, and a sweep changed nothing: it would be due again at once, for ever. A bug."""


class Due:
    """Says when a sweep is needed, and sets the alarm for the next one. `next_start` says when a claim that waits may
    be served though nothing else happens: that needs a commit, and nothing is swept."""

    def __init__(
        self,
        state: State,
        leases: LeaseTable,
        term: Term,
        *,
        alarm: Alarm,
        ids: IdSource,
        limits: Limits,
        settings: EngineSettings,
        clock: Clock,
        next_start: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._next_start = next_start
        self._state = state
        self._leases = leases
        self._term = term
        self._ids = ids
        self._alarm = alarm
        self._limits = limits
        self._lapse_interval_ms = settings.lapse_interval_ms
        self._clock = clock
        self._swept_at = clock.monotonic_ms()
        self._grace_until: float | None = None
        self._lapses = term.lapses
        self._outlook = Outlook()
        spacing_ms = settings.commit_spacing_ms
        self._sweep_jobs = limits.sweep_jobs * max(1, int(spacing_ms // SPACING_MS))
        self._pressing_limits = _with_room(limits, self._sweep_jobs * LET_GO)
        self._swept_up_to_ms = 0

    def ask(self, *, forget: bool) -> None:
        """Ask the table once; to be called after every change of the state. `forget`: keys may be forgotten."""
        self._outlook = look(self._state, self._limits, self._pressing_limits, forget=forget)

    def is_pressing(self, now: Moment) -> bool:
        """Whether something is due that is worth a commit of its own. If not, the alarm is set for when it will be."""
        monotonic, outlook = now.monotonic, self._outlook
        earliest = self._leases_end_at(monotonic)
        if (start := self._next_start()) is not None:
            earliest = min(earliest, monotonic + (start - now.queue_ms))
        if outlook.at_once is not None:
            earliest = min(earliest, monotonic + (outlook.at_once - now.queue_ms))
        if outlook.by_wall is not None:
            left_ms = outlook.by_wall - min(now.queue_ms, self._clock.wall_ms())
            # The wall clock may be set meanwhile: it is looked at again.
            earliest = min(earliest, monotonic + min(left_ms, LOOK_AT_WALL_MS))
        if outlook.in_a_while is not None:
            # What can be let go waits for a commit that happens anyway, but not for ever.
            # But what was due at the last sweep already, and more than one sweep could do, waits for no more than that.
            more = outlook.in_a_while <= self._swept_up_to_ms
            pause_ms = min(MORE_MS, self._lapse_interval_ms) if more else self._lapse_interval_ms
            due_at = monotonic + (outlook.in_a_while - now.queue_ms)
            earliest = min(earliest, max(due_at, self._swept_at + pause_ms))
        if outlook.far_over:
            earliest = min(earliest, self._swept_at + SPACING_MS)
        if earliest <= monotonic:
            return True
        if earliest < float("inf"):
            # One millisecond more: moments are whole milliseconds, and a timer that fires early finds nothing due.
            self._alarm.set(earliest + 1, monotonic)
        return False

    def sweep(self, now: Moment, *, forget: bool) -> Sweep | None:
        """The command that does what is due at this commit; None when nothing is. `forget`: keys may be forgotten."""
        monotonic, now_ms = now.monotonic, now.queue_ms
        limit = self._sweep_jobs
        expired: list[tuple[int, str]] = []
        if self._leases_end_at(monotonic) <= monotonic:
            expired = self._leases.expired(int(monotonic), limit)
        wall_ms = self._clock.wall_ms() if self._outlook.by_wall is not None else None
        due = self._due_rows(now_ms, wall_ms, forget)
        if not expired and not due and not self._outlook.over:
            return None
        self._swept_at, self._swept_up_to_ms = monotonic, now_ms
        overdue = limit if any(row.name == "timeouts" for row in due) else 0
        jitters = [self._ids.jitter() for _ in range(len(expired) + overdue)]
        return Sweep(expired, jitters, limit, forget, wall_ms)

    def _due_rows(self, now_ms: int, wall_ms: int | None, forget: bool) -> list[Row]:
        """What the rows said was due by then."""
        both_ms = now_ms if wall_ms is None else min(now_ms, wall_ms)
        return [
            row
            for at_ms, row in self._outlook.moments
            if at_ms <= (both_ms if row.by_wall else now_ms) and (forget or not row.forgets)
        ]

    def check_progress(self, sweep: Sweep, now_ms: int, changed: bool) -> None:
        """Raise `FruitlessSweep` when a sweep changed nothing though a row said that it is due."""
        if changed:
            return
        due = [row.name for row in self._due_rows(now_ms, sweep.wall_ms, sweep.forget)]
        if sweep.expired:
            due.append(f"{LEASES.name} of the jobs numbered {[number for number, _ in sweep.expired][:10]}")
        if due:
            raise FruitlessSweep(
                f"what is due stays due for ever: {', '.join(due)}. The sweep of it changed nothing, so this broker's "
                "own tables differ from its state"
            )

    def _leases_end_at(self, monotonic: float) -> float:
        """When to expire leases: when the first one is over, or after a stall a little later."""
        if not self._leases.leases:
            self._grace_until = None
            return float("inf")
        lapses = self._term.lapses
        if self._lapses != lapses:
            # This leader could be deposed for a while, and refused heartbeats: like a successor it begins anew.
            self._lapses = lapses
            self._leases.begin_anew(int(monotonic))
        if self._leases.file_anew(int(monotonic), REFILED_MAX):
            return monotonic + 1  # there are more: others shall have their turn between two steps
        expiry = self._leases.next_expiry()
        if expiry is None or expiry > monotonic:
            self._grace_until = None
            return float("inf") if expiry is None else float(expiry)
        if not self._term.is_live():
            return monotonic + LOOK_AGAIN_MS
        if self._grace_until is None and monotonic - expiry > STALL_MS:
            self._grace_until = monotonic + GRACE_MS
        return float(expiry) if self._grace_until is None else self._grace_until


def _with_room(limits: Limits, room: int) -> Limits:
    """The caps, above which a sweep does not wait for the next commit: one sweep's worth more than what is kept."""
    return replace(
        limits,
        finished_jobs=limits.finished_jobs + room,
        finished_bytes=limits.finished_bytes + limits.finished_bytes // 10,
        dead_jobs=limits.dead_jobs + room,
        dead_bytes=limits.dead_bytes + limits.dead_bytes // 10,
        request_ids=limits.request_ids + room,
        settled_tokens=limits.settled_tokens + room,
    )
