"""Who may answer reads of a named queue by memory alone, where its leader lives on the lease of the default queue.

The default queue's root is renewed, and taken from a leader only when it has been seen unchanged for a whole timeout,
or when that leader has cleared it. The root of a named queue is never renewed:

- whoever holds a term of the default queue may take a named queue, whoever its root names: it reads that root, *then*
  reads the default queue's root as its own still, and then swaps the former from the version that it has read;
- its reads live on the default queue's lease, which runs from when a confirmed renewal was *sent*, and never on a swap
  of the named queue's root;
- a leader that leaves ends all its terms *before* it sends the swap that clears the default queue's root;
- whoever finds the default queue's root to be another's ends its terms of all queues.

Storage never forgets: what was sent may land at any later time at which its condition holds. Time passes in ticks at
any moment, so a pause is a process that does nothing meanwhile. Ages are capped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tests.model.explore import Exploration, Step, Verdict

LEASE = 1
"""Ticks that a lease lives from when its renewal was sent; less than the timeout, or nothing here holds."""
TIMEOUT = 2
NOBODY = -1

Role = Literal["", "read", "confirmed", "swapping", "term"]


class Root(NamedTuple):
    version: int
    epoch: int
    holder: int


class Write(NamedTuple):
    """A swap that was sent: of the default queue's root, or of the named one."""

    named: bool
    expects: int
    epoch: int
    holder: int


class Process(NamedTuple):
    """One broker. `epoch` is that of its term of the default queue, 0: none; `lease` and `sent` are ages, of the last
    confirmed renewal and of the one under way. `queue` is how far it has come with the named queue."""

    epoch: int = 0
    known: int = 0
    lease: int = LEASE
    sent: int | None = None
    taking: int = 0
    seen: tuple[int, int] | None = None
    queue: Role = ""
    queue_version: int = 0
    queue_epoch: int = 0


class World(NamedTuple):
    default: Root
    named: Root
    sent: frozenset[Write]
    processes: tuple[Process, ...]
    served: int
    """The highest epoch of the named queue that has served."""
    renewals: int


@dataclass(frozen=True)
class Lending:
    """The model, with the bugs planted in it, and how much may happen."""

    processes: int = 2
    epochs: int = 2
    queue_epochs: int = 3
    renewals: int = 1
    leaves: bool = False
    bugs: frozenset[str] = frozenset()

    def explore(self, limit: int = 2_000_000) -> Verdict:
        return Exploration(self.start(), self.steps, self.broken).run(limit=limit)

    def start(self) -> World:
        """The first broker leads the default queue; nobody has the named one."""
        leader = Process(epoch=1, known=1, lease=0)
        return World(
            Root(1, 1, 0), Root(1, 1, NOBODY), frozenset(), (leader, *(Process(),) * (self.processes - 1)), 0, 0
        )

    def broken(self, world: World) -> str:
        for one in world.processes:
            if one.queue == "term" and one.queue_epoch < world.served and one.lease < LEASE:
                return "a read of the named queue is answered by memory though a later epoch has served"
        return ""

    def steps(self, world: World) -> Iterator[Step[World]]:
        yield "time passes", self._later(world)
        for write in world.sent:
            root = world.named if write.named else world.default
            if root.version == write.expects:
                landed = Root(root.version + 1, write.epoch, write.holder)
                changed = world._replace(named=landed) if write.named else world._replace(default=landed)
                yield f"{write} lands", _pruned(changed)
        for number, one in enumerate(world.processes):
            for what, following in self._steps_of(world, number, one):
                yield f"{number} {what}", following

    def _steps_of(self, world: World, number: int, one: Process) -> Iterator[Step[World]]:
        if one.epoch:
            yield from self._leading(world, number, one)
        else:
            yield from self._standing_by(world, number, one)
        if one.epoch or "serve on" in self.bugs:
            yield from self._named(world, number, one)

    def _leading(self, world: World, number: int, one: Process) -> Iterator[Step[World]]:
        default = world.default
        mine = default.holder == number and default.epoch == one.epoch
        if one.sent is None and world.renewals < self.renewals:
            write = Write(False, one.known, one.epoch, number)
            yield (
                "sends a renewal",
                _with(world, number, one._replace(sent=0))._replace(
                    sent=world.sent | {write}, renewals=world.renewals + 1
                ),
            )
        if not mine:
            yield "learns that another leads", _with(world, number, _ended(one))
        elif one.sent is not None and default.version > one.known:
            heard = one._replace(known=default.version, lease=one.sent, sent=None)
            yield "hears that its renewal landed", _with(world, number, heard)
        if self.leaves and one.sent is None:
            write = Write(False, one.known, one.epoch, NOBODY)
            left = Process() if "serve on" not in self.bugs else one._replace(epoch=0)
            yield "ends its terms and clears the root", _with(world, number, left)._replace(sent=world.sent | {write})

    def _standing_by(self, world: World, number: int, one: Process) -> Iterator[Step[World]]:
        default = world.default
        if one.taking:
            if default.version > one.known:
                won = default.holder == number and default.epoch == one.taking
                lead = one._replace(epoch=one.taking, known=default.version, lease=one.sent or 0, sent=None, taking=0)
                lost = one._replace(taking=0, sent=None, seen=None)
                yield "hears of its candidacy", _with(world, number, lead if won else lost)
            return
        if one.seen is None or one.seen[0] != default.version:
            yield "sees the root", _with(world, number, one._replace(seen=(default.version, 0)))
            return
        gone = default.holder == NOBODY or one.seen[1] >= TIMEOUT
        if gone and default.epoch < self.epochs:
            write = Write(False, default.version, default.epoch + 1, number)
            taking = one._replace(known=default.version, sent=0, taking=default.epoch + 1, seen=None)
            yield "takes over", _with(world, number, taking)._replace(sent=world.sent | {write})

    def _named(self, world: World, number: int, one: Process) -> Iterator[Step[World]]:
        named, default = world.named, world.default
        mine = default.holder == number and default.epoch == one.epoch
        confirms_first = "confirmed before it was read" in self.bugs
        if one.queue == "" and one.epoch:
            if confirms_first and mine:
                yield "reads its own root", _with(world, number, one._replace(queue="confirmed", queue_version=0))
            elif not confirms_first:
                read: Role = "confirmed" if "not confirmed" in self.bugs else "read"
                seen = one._replace(queue=read, queue_version=named.version, queue_epoch=named.epoch + 1)
                yield "reads the queue's root", _with(world, number, seen)
        elif one.queue == "read" and one.epoch:
            after = one._replace(queue="confirmed") if mine else _ended(one)
            yield "reads its own root", _with(world, number, after)
        elif one.queue == "confirmed" and one.epoch:
            if not one.queue_version:
                seen = one._replace(queue_version=named.version, queue_epoch=named.epoch + 1)
                yield "reads the queue's root", _with(world, number, seen)
            elif one.queue_epoch <= self.queue_epochs:
                write = Write(True, one.queue_version, one.queue_epoch, number)
                swapping = one._replace(queue="swapping")
                yield "swaps the queue's root", _with(world, number, swapping)._replace(sent=world.sent | {write})
        elif one.queue == "swapping" and named.version > one.queue_version:
            won = named.holder == number and named.epoch == one.queue_epoch
            term = one._replace(queue="term", lease=0 if "lease from the queue's swap" in self.bugs else one.lease)
            after = term if won else one._replace(queue="", queue_version=0, queue_epoch=0)
            served = max(world.served, one.queue_epoch) if won else world.served
            yield "hears of the queue", _with(world, number, after)._replace(served=served)
        elif one.queue == "term" and (named.holder != number or named.epoch != one.queue_epoch):
            after = one._replace(queue="", queue_version=0, queue_epoch=0)
            yield "collides with a fence in the queue's lane", _with(world, number, after)

    @staticmethod
    def _later(world: World) -> World:
        def older(one: Process) -> Process:
            seen = None if one.seen is None else (one.seen[0], min(one.seen[1] + 1, TIMEOUT))
            sent = None if one.sent is None else min(one.sent + 1, LEASE)
            return one._replace(lease=min(one.lease + 1, LEASE), sent=sent, seen=seen)

        return world._replace(processes=tuple(map(older, world.processes)))


def _ended(one: Process) -> Process:
    """All its terms are over."""
    return Process()


def _with(world: World, number: int, one: Process) -> World:
    processes = (*world.processes[:number], one, *world.processes[number + 1 :])
    return world._replace(processes=processes)


def _pruned(world: World) -> World:
    """Without what can never land again: versions only rise."""
    left = {write for write in world.sent if write.expects >= (world.named if write.named else world.default).version}
    return world._replace(sent=frozenset(left))
