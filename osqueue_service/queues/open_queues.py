"""The queues with names that this broker has in memory, which it does while it leads the default queue.

Whoever would lead a named queue must hold the root of the default queue: that is taken only from a leader that has
been silent for a whole timeout, or that has left. So this broker, having read a queue's root and *then* its own, may
take the queue whoever its root names; and a root that somebody else took in between refuses the swap.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple

from osqueue_service.errors import (
    CorruptObject,
    Deposed,
    InvalidRequest,
    NotLeader,
    OsqueueError,
    StorageUnavailable,
    StoreError,
    StoreFailed,
    TooManyRequests,
    WrittenByNewer,
    anew,
)
from osqueue_service.leadership import LentLease, Standbys, Term
from osqueue_service.limits import SECOND_MS
from osqueue_service.log import LogCounters
from osqueue_service.log.root import NamedQueue as QueueSettings
from osqueue_service.queues.catalogue import Catalogue, Listed, check_queue_name, deleted, gathered
from osqueue_service.queues.named_queue import Host, NamedQueue
from osqueue_service.queues.parking import idle_since, parked
from osqueue_service.queues.queue_store import Marker
from osqueue_service.state.features import QUEUES

log = logging.getLogger(__name__)

PARK_LOOK_MS = 60 * SECOND_MS
"""How often it is looked which queues are idle, at least."""

JUST_USED_MS = 1_000
"""A queue that was used within this time, or opened, is not parked to make room: its next call is on the way."""

HALT_MS = 30 * SECOND_MS
"""A queue that could not be opened is not tried again before this; whoever asks is told why meanwhile."""


class _Leading(NamedTuple):
    term: Term
    standbys: Standbys


class _Halted(NamedTuple):
    until_ms: float
    reason: OsqueueError


class OpenQueues:
    """Opens named queues as they are asked for, and those that were in use when the leader before ended."""

    def __init__(self, host: Host, not_leader: Callable[[], NotLeader]) -> None:
        """`not_leader` says to callers why this broker does not lead."""
        self._host = host
        self._not_leader = not_leader
        self.catalogue = Catalogue(host.settler(LogCounters()))
        self._leading: _Leading | None = None
        self._open: dict[str, NamedQueue] = {}
        self._opening: dict[str, asyncio.Task[NamedQueue]] = {}
        self._halted: dict[str, _Halted] = {}
        self._markers: dict[str, list[Marker]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._leaving: dict[str, asyncio.Future[None]] = {}
        """Queues whose root is about to say otherwise; they are opened again after that."""
        self._closing = False
        self._parking: asyncio.Task[None] | None = None

    def __iter__(self) -> Iterator[NamedQueue]:
        return iter(list(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    # --- with the default queue's term -------------------------------------------------------------------------

    def begin(self, term: Term, standbys: Standbys) -> None:
        """This broker leads from now on. The queues that are in use are opened in the background."""
        self._leading = _Leading(term, standbys)
        self._closing = False
        self._halted.clear()
        if QUEUES in term.root.needs:
            self._in_background(self._reopen())

    async def close(self) -> None:
        """Give every call its answer and lead no named queue any more: the broker is about to leave."""
        self._closing = True
        await asyncio.gather(*(queue.close() for queue in list(self._open.values())), return_exceptions=True)

    def end(self, reason: Exception) -> None:
        """This broker leads no longer."""
        self._leading = None
        for task in (*self._opening.values(), *self._background):
            task.cancel()
        for queue in list(self._open.values()):
            queue.end(reason)
        self._open.clear()
        self._opening.clear()
        self._parking = None

    # --- what callers ask --------------------------------------------------------------------------------------

    def find(self, name: str) -> NamedQueue | None:
        """The queue, if it is open."""
        return self._open.get(name)

    async def open(self, name: str) -> NamedQueue:
        """The queue, opened if need be. Raises `QueueNotFound`, and `NotLeader` while this broker does not lead."""
        queue = self._open.get(name)
        if queue is not None:
            return queue
        check_queue_name(name, "queue")
        while (leaving := self._leaving.get(name)) is not None:
            await asyncio.wait({leaving})
        self.check_leads()
        self._check_halted(name)
        opening = self._opening.get(name)
        if opening is None:
            self._check_room()
            opening = asyncio.get_running_loop().create_task(self._opened(name), name=f"opening {name}")
            self._opening[name] = opening
            opening.add_done_callback(lambda task: self._done(name, task))
        try:
            # Shielded: a caller that goes away must not take the others' queue along.
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            if opening.cancelled():
                raise self._not_leader() from None
            raise
        except OsqueueError as error:
            raise anew(error) from None

    async def create(self, name: str, *, description: str = "", max_jobs: int = 0) -> tuple[Listed, bool]:
        """Create a queue; False where there is one already, which stays as it is. `FeatureUnavailable` names a broker
        that could take over and knows no queues with names."""
        leading = self.check_leads()
        check_queue_name(name)
        await leading.term.switch_on({QUEUES})
        await leading.term.confirm()
        return await self.catalogue.create(name, description=description, max_jobs=max_jobs)

    async def change(self, name: str, *, description: str | None = None, max_jobs: int | None = None) -> QueueSettings:
        """Change what is said of a queue. Another `max_jobs` counts at once: callers that wait are sent away, and ask
        again."""
        queue = await self.open(check_queue_name(name))
        now = queue.settings
        changed = QueueSettings(
            name=now.name,
            created_at=now.created_at,
            description=now.description if description is None else description,
            max_jobs=now.max_jobs if max_jobs is None else max_jobs,
        )
        await queue.change(changed)
        if changed.max_jobs != now.max_jobs:
            await queue.close()
        return changed

    async def delete(self, name: str, *, force: bool = False) -> int:
        """Delete a queue with everything in it; how many live jobs it had. Without `force` it must have none."""
        queue = await self.open(check_queue_name(name))
        await queue.engine.settled()
        live = queue.engine.views.totals.live
        if live and not force:
            raise InvalidRequest.field(
                "force",
                f"the queue {name} has {live:,} live jobs: wait for them, cancel them, or say force",
            )
        uid = queue.root.uid or ""
        leaving = self._leaving[name] = asyncio.get_running_loop().create_future()
        try:
            await queue.engine.stop()
            if not force and queue.engine.views.totals.live > live:
                await queue.close()
                raise InvalidRequest.field("force", f"jobs came into the queue {name} just now: say force to lose them")
            await queue.close(deleted)
        except Deposed:
            raise self._not_leader() from None
        finally:
            del self._leaving[name]
            leaving.set_result(None)
        self._in_background(self._erase(name, uid))
        return live

    def check_leads(self) -> _Leading:
        """Raises `NotLeader` while this broker does not lead."""
        if self._leading is None or self._closing:
            raise self._not_leader()
        return self._leading

    # --- opening -----------------------------------------------------------------------------------------------

    async def _opened(self, name: str) -> NamedQueue:
        clock = self._host.clock
        await self._make_room()
        try:
            queue = await self._taken(name)
        except (OsqueueError, asyncio.CancelledError):
            raise
        except StoreFailed as failed:
            self.check_leads().term.end(failed)
            raise self._not_leader() from None
        except (CorruptObject, WrittenByNewer, StoreError) as trouble:
            reason = StorageUnavailable(f"the queue {name} is halted: {trouble}", retry_after_ms=HALT_MS)
            log.critical("%s (it is tried again when it is asked for after %d s)", reason, HALT_MS // SECOND_MS)
            self._halted[name] = _Halted(clock.monotonic_ms() + HALT_MS, reason)
            raise reason from None
        try:
            await self._mark(Marker(name, queue.term.epoch))
        except BaseException:
            queue.end(NotLeader(f"the queue {name} could not be opened"))
            raise
        if queue.term.lost.over or self._closing:
            queue.end(self._not_leader())
            raise self._not_leader()
        self._open[name] = queue
        if self._parking is None:
            self._parking = self._in_background(self._park_idle())
        queue.term.lost.listen(lambda _: self._drop(queue))
        log.info(
            "leading the queue %s in epoch %d after commit %d: %d live jobs",
            name, queue.term.epoch, queue.engine.sequence, queue.engine.views.totals.live,
        )  # fmt: skip
        return queue

    async def _mark(self, marker: Marker) -> None:
        """Before the queue's first answer: else nobody would look for it if this broker died."""
        await self.catalogue.mark(marker)
        before, self._markers[marker.name] = self._markers.get(marker.name, []), [marker]
        if before:
            self._in_background(self.catalogue.unmark([each for each in before if each.epoch < marker.epoch]))

    async def _taken(self, name: str) -> NamedQueue:
        while True:
            leading = self.check_leads()
            listed = await self.catalogue.read(name)
            # In this order: whoever could have taken the queue since it was read would hold our own root by now.
            await leading.term.confirm()
            lent = LentLease(leading.term, leading.term.incarnation)
            try:
                return await NamedQueue.open(self._host, listed, lent, leading.standbys)
            except Deposed:
                continue  # an earlier swap of ours landed late, or we are about to hear that we lead no more

    async def _reopen(self) -> None:
        """Open what was in use before this broker led: schedules fire, and leases expire, without anybody's asking."""
        self._markers = await self.catalogue.warm()
        await gathered(self._reopened, list(self._markers))

    async def _reopened(self, name: str) -> None:
        try:
            found = await self.catalogue.find(name)
            if found is not None and not found.settings.deleted:
                await self.open(name)
            else:
                await self._erase(name, "" if found is None else found.root.uid or "")
        except OsqueueError as trouble:
            log.warning("the queue %s was in use and is not opened: %s", name, trouble)

    async def _erase(self, name: str, uid: str) -> None:
        if uid:
            await self.catalogue.erase(uid)
        await self.catalogue.unmark(self._markers.pop(name, []))

    def _check_halted(self, name: str) -> None:
        halted = self._halted.get(name)
        if halted is None:
            return
        if self._host.clock.monotonic_ms() < halted.until_ms:
            raise anew(halted.reason)
        del self._halted[name]

    def _done(self, name: str, task: "asyncio.Task[NamedQueue]") -> None:
        if self._opening.get(name) is task:
            del self._opening[name]
        if not task.cancelled():
            task.exception()  # whoever waits is told; that nobody does is fine

    def _drop(self, queue: NamedQueue) -> None:
        if self._open.get(queue.name) is queue:
            del self._open[queue.name]

    def _in_background(self, work: Awaitable[None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(_logged(work))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    # --- parking -----------------------------------------------------------------------------------------------

    async def park(self, queue: NamedQueue) -> None:
        """Let a queue that is idle leave memory. Calls that come meanwhile open it again."""
        name = queue.name
        if self._open.get(name) is not queue or name in self._leaving or not queue.is_idle:
            return
        del self._open[name]
        leaving = self._leaving[name] = asyncio.get_running_loop().create_future()
        try:
            await queue.close(parked)
            await self.catalogue.unmark(self._markers.pop(name, []))
        except Deposed:
            return  # somebody else leads it, and this broker is about to hear that
        finally:
            del self._leaving[name]
            leaving.set_result(None)
        log.info("parked the queue %s: nobody has used it lately", name)

    async def _park_idle(self) -> None:
        clock, idle_ms = self._host.clock, self._host.limits.idle_queue_ms
        while self._open or self._opening:
            await clock.sleep_ms(min(idle_ms / 4, PARK_LOOK_MS))
            for queue in idle_since(self._open.values(), clock.monotonic_ms() - idle_ms):
                await self.park(queue)
        self._parking = None

    def _check_room(self) -> None:
        limit = self._host.limits.open_queues
        if len(self._open) + len(self._opening) < limit or any(queue.is_idle for queue in self._open.values()):
            return
        raise TooManyRequests(
            f"{limit} queues are open, which is the limit (open_queues), and none of them is idle: raise it on the "
            "broker, or use fewer",
            retry_after_ms=SECOND_MS,
        )

    async def _make_room(self) -> None:
        """Park the queue that is idle for longest, where there would be too many."""
        while len(self._open) + len(self._opening) > self._host.limits.open_queues:
            idle = idle_since(self._open.values(), self._host.clock.monotonic_ms() - JUST_USED_MS)
            if not idle:
                return  # they have found something to do just now; one too many does no harm
            await self.park(idle[0])


async def _logged(work: Awaitable[None]) -> None:
    try:
        await work
    except Exception:
        log.exception("work on the named queues failed")
