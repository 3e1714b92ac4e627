"""Becoming the leader: stand by, take over, and again until it succeeds."""

from collections.abc import Callable, Set

from osqueue_service.clock import Clock
from osqueue_service.errors import ClockAhead, Deposed, WrittenByNewer
from osqueue_service.ids import IdSource
from osqueue_service.leadership.following import Follower
from osqueue_service.leadership.held_root import Heartbeat
from osqueue_service.leadership.takeover import Addresses, Takeover
from osqueue_service.leadership.term import Term
from osqueue_service.leadership.watch import Bar, Watch
from osqueue_service.log import LogCounters, Replayer, RestorePoints, Root, SeedQueue, Settler
from osqueue_service.storage.steady import Denials, SteadyStore
from osqueue_service.storage.store import ObjectStore
from osqueue_service.storage.throttled import undelayed

DEFAULT_DEPTH = 4
"""Puts in flight of a leader that is not told otherwise."""


class Elector:
    """One broker's way to leadership.

    `leader` and `leader_epoch` tell where the leader was last seen while this broker
    does not lead: what NOT_LEADER answers name.
    """

    def __init__(
        self,
        store: ObjectStore,
        clock: Clock,
        ids: IdSource,
        *,
        addresses: Addresses,
        heartbeat: Heartbeat | None = None,
        depth: int = DEFAULT_DEPTH,
        follow: bool = True,
        retention_ms: int = 0,
        wall_ms: Callable[[], int] | None = None,
        counters: LogCounters | None = None,
        on_candidacy: Callable[[bool], None] = lambda begins: None,
        on_loaded: Callable[[], None] = lambda: None,
        understood: Set[str] = frozenset(),
        on_barred: Callable[[Bar | None], None] = lambda bar: None,
        clock_fault: Callable[[], ClockAhead | None] = lambda: None,
    ) -> None:
        """`follow`: read the log while standing by, so that a takeover is quick however large the queue is.
        `retention_ms`: how long, by `wall_ms`, a leader keeps superseded checkpoints and their log.

        `on_candidacy` is told True when a candidacy begins, False when one is lost and standing by goes on.
        `on_loaded` is called whenever a checkpoint has been loaded while standing by. `understood` are the features
        with which this broker may lead, `clock_fault` finds what is wrong with this machine's clock; `on_barred` is
        told what keeps it from leading, and None once nothing does.
        """
        self.counters = counters or LogCounters()
        # Commits and checkpoints wait for a throttle; watching, renewing, fencing and recovering never do.
        denials = Denials(clock)
        self._paced = Settler(SteadyStore(store, denials), clock, ids, self.counters)
        self._settler = Settler(SteadyStore(undelayed(store), denials), clock, ids, self.counters)
        self._heartbeat = heartbeat or Heartbeat()
        self._addresses = addresses
        self._depth = depth
        self._follow = follow
        self._retention_ms = retention_ms
        self._wall_ms = wall_ms
        self._follower: Follower | None = None
        self._on_candidacy = on_candidacy
        self._on_loaded = on_loaded
        self._watch = Watch(self._settler, self._heartbeat, understood, on_barred, clock_fault)

    @property
    def leader(self) -> str:
        """Address of the leader last seen, or ""."""
        return self._watch.leader

    @property
    def leader_epoch(self) -> int:
        return self._watch.epoch

    @property
    def followed(self) -> int:
        """The sequence up to which the log has been followed while standing by; 0: nothing is ready."""
        return self._follower.sequence if self._follower is not None else 0

    def look(self, *, yours: bool = False) -> None:
        """While standing by: look at the root now, there is news of the leader. `yours`: it waited for this one."""
        self._watch.look(yours=yours)

    def heard(self, sequence: int) -> None:
        """While standing by: the leader is at `sequence`; look for its commits if that is worth it."""
        if self._follower is not None:
            self._follower.heard(sequence)

    def hasten(self, sequence: int, limit_ms: float) -> None:
        """While standing by: follow the log closely, for at most `limit_ms`, because the leader, which is at
        `sequence`, is about to leave."""
        if self._follower is not None:
            self._follower.hasten(sequence, limit_ms)

    async def elect(
        self, replayer: Replayer, *, stand_by: bool = True, skip_wait: bool = False, abstain_ms: float = 0
    ) -> Term:
        """Wait until there is no leader, take over, rebuild the state in `replayer`, and return the term.

        `skip_wait`: the store proves that the leader in the root, if any, is dead. `abstain_ms`: how long to leave it
        to others to take over. Without `stand_by`, another broker that is alive raises
        `BrokerLeadershipError`. `CorruptObject` means that an object the root vouches for is missing or
        damaged: nothing was skipped, and nothing can be served before it is repaired. What a later release wrote
        is watched until this broker understands the root again, and so is the queue while this machine's clock is
        wrong; without `stand_by`, or where nobody else can lead either (`skip_wait`), that raises `WrittenByNewer`
        and `ClockAhead`. `StoreDenied` and `StoreFailed` pass through.
        """
        not_before_ms = self._settler.clock.monotonic_ms() + abstain_ms
        follower = self._follower = Follower(self._paced, self._heartbeat, replayer, self._on_loaded, self._met_newer)
        try:
            while True:
                vacancy = await self._watch.vacancy(
                    stand_by=stand_by,
                    skip_wait=skip_wait,
                    not_before_ms=not_before_ms,
                    saw=follower.saw if self._follow else _ignore,
                    is_behind=lambda: follower.is_behind,
                )
                await follower.pause()
                self._on_candidacy(True)
                takeover = Takeover(self._settler, self._heartbeat, self._addresses, replayer, follower)
                try:
                    victory = await takeover.run(vacancy)
                except Deposed as lost:
                    # Another candidate was faster, or took us for dead: back to watching the root it now holds. It
                    # lives, whatever was said about earlier leaders.
                    skip_wait = False
                    self.counters.candidacies_lost += 1
                    self._note_leader(lost)
                    self._on_candidacy(False)
                    continue
                except WrittenByNewer as newer:
                    # The root did not say so, or it would not have come to this. It is cleared again: whoever wrote it
                    # takes over at once, and this broker leaves the queue alone.
                    self._met_newer(newer)
                    self._on_candidacy(False)
                    continue
                self.counters.takeovers += 1
                self.counters.takeovers_followed += victory.recovered.followed > 0
                points = RestorePoints(self._paced, self._retention_ms, self._wall_ms)
                term = Term(self._paced, victory, depth=self._depth, points=points)
                term.lost.listen(self._note_leader)
                return term
        finally:
            follower.end()
            self._follower = None

    def _met_newer(self, newer: WrittenByNewer) -> None:
        self._watch.met = newer

    def _note_leader(self, reason: Exception) -> None:
        """Whoever deposed us is the leader to name from now on; a fence gives its epoch, the root its address too."""
        if isinstance(reason, Deposed) and reason.epoch > self._watch.epoch:
            self._watch.leader, self._watch.epoch = reason.leader, reason.epoch


def _ignore(root: Root | SeedQueue) -> None:
    """Nothing is done with a root beyond watching it."""
