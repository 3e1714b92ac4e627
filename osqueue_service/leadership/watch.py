"""A standby's watch over the root."""

from collections.abc import Callable, Set
from dataclasses import dataclass

from osqueue_service.errors import BrokerLeadershipError, ClockAhead, CorruptObject, WrittenByNewer
from osqueue_service.leadership.held_root import Heartbeat
from osqueue_service.leadership.pause import Pause
from osqueue_service.log import Root, SeedQueue, Settler, decode_root
from osqueue_service.log.paths import CHECKPOINTS_PREFIX, LOG_PREFIX, ROOT
from osqueue_service.storage.store import StoredObject

DEFER_MS = 1_000
"""How long a standby that is behind leaves a queue that nobody leads to others, who may be at the end of the log."""
DEFER_POLL_MS = 50
"""How often it looks whether they have taken it."""


Bar = WrittenByNewer | ClockAhead
"""What keeps a broker from leading."""


@dataclass(frozen=True, slots=True)
class Vacancy:
    """A root whose leader is gone. `root` and `version` are None when the queue does not exist yet."""

    root: Root | SeedQueue | None
    version: str | None


class Watch:
    """Looks at the root until its leader is gone.

    Only a version that stayed the same for a full timeout, by this process's monotonic
    clock, counts as a dead leader; the time in the root is for people. A leader that has
    cleared `broker` is gone at once.

    While what is stored was written by a later release, or this machine's clock is far ahead of the store's, there is
    nothing here to take over: the watch goes on, and `barred` says why.
    """

    def __init__(
        self,
        settler: Settler,
        heartbeat: Heartbeat,
        understood: Set[str],
        on_barred: Callable[[Bar | None], None] = lambda bar: None,
        clock_fault: Callable[[], ClockAhead | None] = lambda: None,
    ) -> None:
        """`understood` are the features this broker may lead with. `on_barred` is told of each change of `barred`.
        `clock_fault` finds what is wrong with this machine's clock."""
        self.leader = ""
        """Where the leader was last seen to be, or ""."""
        self.epoch = 0
        """Its epoch."""
        self.barred: Bar | None = None
        """What keeps this broker from leading; from following as well, if a later release wrote what is stored."""
        self.met: WrittenByNewer | None = None
        """What it has met in the log or a checkpoint, where the root did not say so: this process never leads again."""
        self._understood = understood
        self._on_barred = on_barred
        self._clock_fault = clock_fault
        self._settler = settler
        self._heartbeat = heartbeat
        self._pause = Pause(settler.clock)
        self._yours = False

    def look(self, *, yours: bool = False) -> None:
        """Look at the root now: there is news of the leader. `yours`: it waited for this standby, and leaves to it."""
        self._yours = self._yours or yours
        self._pause.wake()

    async def vacancy(
        self,
        *,
        stand_by: bool = True,
        skip_wait: bool = False,
        not_before_ms: float = 0,
        saw: Callable[[Root | SeedQueue], None] = lambda root: None,
        is_behind: Callable[[], bool] = lambda: False,
    ) -> Vacancy:
        """Return once there is no leader, and not before `not_before_ms` by the monotonic clock.

        `skip_wait` says that the store proves an earlier leader dead (the lock of a
        directory), so that no timeout need pass. Without `stand_by` a leader that is seen
        alive raises `BrokerLeadershipError` instead of being waited for. `saw` is shown each root
        that leaves something to wait for. While `is_behind`, a leader that is gone on purpose is left to others
        for `DEFER_MS`.
        """
        clock = self._settler.clock
        version: str | None = None
        seen_ms = 0.0
        vacant_ms: float | None = None
        self._yours = False
        while True:
            asked_ms = clock.monotonic_ms()
            found = await self._settler.read(ROOT)
            root = self._understand(found)
            if self.barred is not None and (skip_wait or not stand_by):
                raise self.barred  # nobody else is there who could lead, or the caller does not want to wait
            if found is None and self.barred is None:
                if await self._is_new():
                    return Vacancy(None, None)
                continue
            if found is None or root is None:
                version = vacant_ms = None
                await self._pause.sleep_ms(self._heartbeat.poll_ms)
                continue
            # But looks, so that it can say who leads, and follows.
            abstains = asked_ms < not_before_ms or self.barred is not None
            if root.broker:
                vacant_ms = None
                self._yours = False
            elif vacant_ms is None:
                vacant_ms = asked_ms
            fresh = vacant_ms is not None and asked_ms - vacant_ms < DEFER_MS
            defers = fresh and not self._yours and is_behind()
            if not abstains and (skip_wait or (vacant_ms is not None and not defers)):
                return Vacancy(root, found.version)
            if found.version != version:
                if version is not None and not stand_by:
                    raise BrokerLeadershipError(
                        f"another broker, {root.leader}, leads the queue at {self._settler.store.description}: "
                        "stop it, or start this one as a standby",
                        leader=root.leader,
                    )
                version, seen_ms = found.version, clock.monotonic_ms()
            elif not abstains and asked_ms - seen_ms >= self._heartbeat.timeout_ms:
                # Unchanged from an answer that had arrived to a question not yet sent: nothing in between is assumed.
                return Vacancy(root, version)
            saw(root)
            await self._pause.sleep_ms(DEFER_POLL_MS if defers else self._heartbeat.poll_ms)

    def _understand(self, found: StoredObject | None) -> Root | SeedQueue | None:
        """The root, or None while there is none, or it says what this broker does not know."""
        if found is None:
            self._bar(self._clock_fault())
            return None
        newer = self.met
        root = None
        try:
            root = decode_root(found.body)
            self.leader = root.leader
            self.epoch = root.epoch if isinstance(root, Root) else 0
            if isinstance(root, Root):
                root.require(self._understood)
        except WrittenByNewer as unknown:
            newer = unknown
        self._bar(newer or self._clock_fault())
        return None if newer is not None else root

    def _bar(self, bar: Bar | None) -> None:
        """Tell of what keeps this broker from leading when it is another thing than before; a clock goes on ticking."""
        same = str(bar) == str(self.barred) or (isinstance(bar, ClockAhead) and isinstance(self.barred, ClockAhead))
        self.barred = bar
        if not same:
            self._on_barred(bar)

    async def _is_new(self) -> bool:
        """Whether there is no root because there never was one. The root is the first object ever written."""
        for prefix in (LOG_PREFIX, CHECKPOINTS_PREFIX):
            if await self._settler.list_after(prefix, "", 1):
                if await self._settler.read(ROOT) is not None:
                    return False  # another broker has just created it
                raise CorruptObject(
                    ROOT, f"it is missing, though there are objects below {prefix}: restore it from a copy or a version"
                )
        return True
