"""Who may answer reads of a queue by memory alone: brokers as members of a fleet, their leases, and moves between
them.

Commits are safe by the log alone (`lanes.py`). This model is of what a leader does without asking storage: it
answers reads and heartbeats while its *lease* lives. A lease covers all queues that a broker leads, so it hangs on
one object per broker life, the **member object** `brokers/{member}`:

- it is created once, by its owner, and renewed by compare-and-swap; the lease runs from when a confirmed renewal
  was *sent*;
- whoever takes a queue from another broker first **condemns** that broker: swaps its object to condemned, from the
  version that it has seen unchanged for a whole timeout by its own clock. Only when that is confirmed may a root
  that names it be swapped;
- a condemned life never comes back; its owner ends all its terms when it reads so, and may join again under another
  name;
- an operator may condemn at once; then roots wait for a whole timeout from when the condemnation was seen. The
  object says so;
- a leader that leaves, or gives a queue to another, ends its term *before* it sends the swap, and never takes that
  back;
- a candidacy is kept until its swap is known to have landed or to be impossible; a member that a root names without
  a term takes the queue over anew.

Storage never forgets: a write that was sent may land at any later time at which its condition holds. Time passes in
ticks, at any moment between two steps, so a pause is a process that does nothing while time passes. Ages are
capped, so time has no end.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from tests.model.explore import Exploration, Step, Verdict

LEASE = 1
"""Ticks that a lease lives from when its renewal was sent; less than the timeout, or nothing here holds."""
TIMEOUT = 2
"""Ticks for which an object must be seen unchanged before its owner counts as dead."""
NOBODY = -1

Kind = Literal["absent", "live", "condemned", "condemned at once"]
Role = Literal["", "candidate", "term", "leaving", "invited"]


class Thing(NamedTuple):
    """A member object: what it says, and its version, which every write raises."""

    version: int
    kind: Kind


class Root(NamedTuple):
    version: int
    epoch: int
    member: int


class Write(NamedTuple):
    """A compare-and-swap that was sent: of a member object (`kind`), or of the root (`epoch`, `member`)."""

    of: int  # whose object; NOBODY: the root
    expects: int
    kind: Kind = "absent"
    epoch: int = 0
    member: int = NOBODY


class Sight(NamedTuple):
    """What one process last saw of another's object, and for how many ticks that has not changed."""

    thing: Thing
    age: int


class Process(NamedTuple):
    """One life of one broker. `lease` and `renewal` are ages since sending; a lease of LEASE ticks is over."""

    up: bool = False
    known: int = 0
    lease: int = LEASE
    renewal: int | None = None
    role: Role = ""
    epoch: int = 0
    expects: int = 0
    swap: int | None = None
    sights: tuple[Sight | None, ...] = ()


class World(NamedTuple):
    root: Root
    things: tuple[Thing, ...]
    sent: frozenset[Write]
    processes: tuple[Process, ...]
    served: int
    """The highest epoch that has served."""
    crashes: int
    deletions: int


@dataclass(frozen=True)
class Members:
    """The model, with the bugs planted in it, and how much may happen."""

    lives: int = 2
    epochs: int = 3
    renewals: int = 2
    crashes: int = 1
    deletions: int = 0
    operator: bool = False
    moves: bool = False
    bugs: frozenset[str] = frozenset()
    heal_every: int = 50
    """Of how many states one is healed, to see whether the queue is led in the end: it costs as much as 100 steps."""

    _seen: list[int] = field(default_factory=lambda: [0], compare=False)

    def explore(self, limit: int = 2_000_000) -> Verdict:
        return Exploration(self.start(), self.steps, self.broken).run(limit=limit)

    def start(self) -> World:
        """The first life leads, with its object just created; the others are yet to come."""
        nothing = (None,) * self.lives
        leader = Process(up=True, known=1, lease=0, role="term", epoch=1, expects=1, sights=nothing)
        others = (Process(sights=nothing),) * (self.lives - 1)
        things = (Thing(1, "live"), *(Thing(0, "absent"),) * (self.lives - 1))
        return World(Root(1, 1, 0), things, frozenset(), (leader, *others), 1, 0, 0)

    # --- what must hold ------------------------------------------------------------------------------------------

    def broken(self, world: World) -> str:
        terms = [one for one in world.processes if one.up and one.role == "term"]
        for one in terms:
            if one.lease < LEASE and one.epoch < world.served:
                return f"a read at epoch {one.epoch} is answered by memory, while epoch {world.served} has served"
        if len({one.epoch for one in terms}) < len(terms):
            return "two brokers serve under one epoch"
        self._seen[0] += 1
        return "" if self._seen[0] % self.heal_every else self._orphaned(world)

    def _orphaned(self, world: World) -> str:
        """With storage healed, time passing and one more broker that comes, the queue is led in the end."""
        healed = self.without_end()
        world = _one_more(world)
        for _ in range(200):
            leader = world.root.member
            if leader != NOBODY:
                one = world.processes[leader]
                if one.up and one.role == "term" and one.epoch == world.root.epoch:
                    return ""
            following = healed.one_healing_step(world)
            if following is None:
                break
            world = following
        return f"nobody leads, and nobody ever will: the root names {world.root.member} at epoch {world.root.epoch}"

    def without_end(self) -> "Members":
        return Members(self.lives + 1, 1_000, 1_000, 0, 0, False, False, self.bugs)

    def one_healing_step(self, world: World) -> World | None:
        """What happens next where storage answers and nobody fails: the network first, then processes, then time."""
        for write in sorted(world.sent):
            if _may_land(world, write):
                return _landed(world, write)
        for number, one in enumerate(world.processes):
            if one.up:
                for _, following in self._process_steps(world, number, one, healing=True):
                    if following != world:
                        return following
        following = _tick(world)
        return following if following != world else None

    # --- what can happen -----------------------------------------------------------------------------------------

    def steps(self, world: World) -> Iterator[Step[World]]:
        for write in world.sent:
            if _may_land(world, write):
                yield f"{_name(write)} lands", _norm(_landed(world, write))
        yield "time passes", _tick(world)
        if world.deletions < self.deletions:
            for number, thing in enumerate(world.things):
                if thing.kind == "live":
                    things = _with(world.things, number, Thing(thing.version + 1, "absent"))
                    yield (
                        f"somebody deletes {_who(number)}'s object",
                        world._replace(things=things, deletions=world.deletions + 1),
                    )
        for number, one in enumerate(world.processes):
            if not one.up:
                if (
                    one.known == 0
                    and one.renewal is None
                    and (number == 0 or world.processes[number - 1].up or world.crashes)
                ):
                    yield (
                        f"{_who(number)} starts",
                        _sent(_put(world, number, one._replace(up=True, renewal=0)), Write(number, 0, "live")),
                    )
                continue
            if world.crashes < self.crashes:
                gone = _put(world, number, Process(known=-1, sights=(None,) * self.lives))
                yield f"{_who(number)} crashes", _norm(gone._replace(crashes=world.crashes + 1))
            for what, following in self._process_steps(world, number, one, healing=False):
                yield f"{_who(number)} {what}", _norm(following)

    def _process_steps(self, world: World, number: int, one: Process, *, healing: bool) -> Iterator[Step[World]]:
        yield from self._own_object(world, number, one)
        if not world.processes[number].up:
            return
        yield from self._candidacy(world, number, one)
        yield from self._look_at_others(world, number, one)
        if not healing:
            yield from self._leave(world, number, one)

    def _own_object(self, world: World, number: int, one: Process) -> Iterator[Step[World]]:
        mine = world.things[number]
        if one.renewal is not None:
            if mine == Thing(one.known + 1, "live"):
                lease = 0 if "lease from the answer" in self.bugs else one.renewal
                yield (
                    "hears that its renewal landed",
                    _put(world, number, one._replace(known=mine.version, lease=lease, renewal=None)),
                )
            elif one.known and (mine.version != one.known or mine.kind != "live"):
                if "object recreated" in self.bugs:
                    if mine.version < 4:
                        again = one._replace(known=mine.version, renewal=0)
                        yield (
                            "makes its object anew",
                            _sent(_put(world, number, again), Write(number, mine.version, "live")),
                        )
                else:
                    # Condemned, or gone: every term ends at once. This life is over.
                    gone = Process(known=-1, sights=(None,) * self.lives)
                    yield "reads that it is condemned, and ends", _put(world, number, gone)
        elif one.known < self.renewals + 1 and one.lease:
            yield "renews", _sent(_put(world, number, one._replace(renewal=0)), Write(number, one.known, "live"))

    def _candidacy(self, world: World, number: int, one: Process) -> Iterator[Step[World]]:
        root = world.root
        if one.role in ("candidate", "invited"):
            if root.epoch == one.epoch and root.member == number:
                yield "reads that the root is its own: serves", _serves(world, number, one)
            elif root.version != one.expects:
                yield "reads that its swap cannot land any more", _put(world, number, _idle(one))
            elif one.role == "invited" and self._may_take(world, number, one):
                # Whoever invited it is condemned. Its own swap and the other's say the same, so either may land.
                swap = Write(NOBODY, root.version, epoch=one.epoch, member=number)
                yield "sends the swap itself", _sent(_put(world, number, one._replace(role="candidate")), swap)
            elif "candidacy dropped" in self.bugs and one.role == "candidate":
                yield "gives its candidacy up without an answer", _put(world, number, _idle(one))
        elif one.role == "leaving":
            yield from self._leaving(world, number, one)
        elif one.role == "term":
            if (root.epoch, root.member) != (one.epoch, number):
                yield "reads that it is deposed", _put(world, number, _idle(one))
            elif "lease from a root's swap" in self.bugs:
                yield from self._checkpoint(world, number, one)
        elif one.known and root.epoch < self.epochs and self._may_take(world, number, one):
            swap = Write(NOBODY, root.version, epoch=root.epoch + 1, member=number)
            yield (
                "sends a swap of the root",
                _sent(
                    _put(world, number, one._replace(role="candidate", epoch=root.epoch + 1, expects=root.version)),
                    swap,
                ),
            )

    def _leaving(self, world: World, number: int, one: Process) -> Iterator[Step[World]]:
        root = world.root
        if root.version != one.expects:
            yield "reads that it has left", _put(world, number, _idle(one))
        elif root.epoch < self.epochs:
            # To serve again it takes over at the next epoch, as anybody would: one of the two swaps is refused.
            retake = Write(NOBODY, root.version, epoch=root.epoch + 1, member=number)
            again = one._replace(role="candidate", epoch=root.epoch + 1)
            yield "hears nothing, and takes the queue again", _sent(_put(world, number, again), retake)

    def _may_take(self, world: World, number: int, one: Process) -> bool:
        holder = world.root.member
        if holder == NOBODY:
            return True
        if holder == number:
            return "candidacy dropped" not in self.bugs
        sight = one.sights[holder]
        if sight is None:
            return False
        long_enough = sight.age >= TIMEOUT
        if "swap without condemning" in self.bugs and long_enough:
            return True
        if sight.thing.kind == "condemned at once":
            return long_enough or "swap at once" in self.bugs
        return sight.thing.kind == "condemned"

    def _look_at_others(self, world: World, number: int, one: Process) -> Iterator[Step[World]]:
        if one.role not in ("", "invited") or not one.known:
            return
        other = world.root.member
        if other in (NOBODY, number):
            return
        thing, sight = world.things[other], one.sights[other]
        if sight is None or sight.thing != thing:
            seen = one._replace(sights=_with(one.sights, other, Sight(thing, 0)))
            yield f"looks at {_who(other)}'s object: {thing.kind}", _put(world, number, seen)
            return
        if thing.kind in ("live", "absent"):
            hasty = thing.kind == "absent" and "absent is dead" in self.bugs
            if sight.age >= TIMEOUT or hasty:
                yield f"condemns {_who(other)}", _sent(world, Write(other, thing.version, "condemned"))
            elif self.operator:
                yield f"condemns {_who(other)} at once", _sent(world, Write(other, thing.version, "condemned at once"))

    def _leave(self, world: World, number: int, one: Process) -> Iterator[Step[World]]:
        if one.role != "term" or (world.root.epoch, world.root.member) != (one.epoch, number):
            return
        root = world.root
        left = one._replace(role="leaving", expects=root.version)
        stays = one if "serve on" in self.bugs else left
        clear = Write(NOBODY, root.version, epoch=root.epoch)
        yield "leaves: clears the root", _sent(_put(world, number, stays), clear)
        if not self.moves or root.epoch >= self.epochs:
            return
        for target, other in enumerate(world.processes):
            if target == number or not other.up or not other.known or other.role:
                continue
            give = Write(NOBODY, root.version, epoch=root.epoch + 1, member=target)
            invited = other._replace(role="invited", epoch=root.epoch + 1, expects=root.version)
            moved = _put(_put(world, number, stays), target, invited)
            if "serve when invited" in self.bugs:
                moved = _serves(moved, target, invited)
            yield f"gives the queue to {_who(target)}", _sent(moved, give)
            yield f"invites {_who(target)}, and then stays", _put(world, target, invited)

    def _checkpoint(self, world: World, number: int, one: Process) -> Iterator[Step[World]]:
        """The bug: a confirmed swap of the root, such as a checkpoint's, counts as a renewal."""
        root = world.root
        if one.swap is None and root.version < self.epochs + 2:
            yield (
                "sends a checkpoint's swap",
                _sent(
                    _put(world, number, one._replace(swap=0, expects=root.version)),
                    Write(NOBODY, root.version, epoch=root.epoch, member=number),
                ),
            )
        elif one.swap is not None and root.version == one.expects + 1:
            yield (
                "hears that the checkpoint's swap landed",
                _put(world, number, one._replace(lease=one.swap, swap=None)),
            )


# --- storage and time ------------------------------------------------------------------------------------------------


def _may_land(world: World, write: Write) -> bool:
    if write.of == NOBODY:
        return world.root.version == write.expects
    thing = world.things[write.of]
    # A life's own first write creates; a later one, and a condemnation, swaps the version that was read.
    return thing.version == write.expects


def _landed(world: World, write: Write) -> World:
    if write.of == NOBODY:
        return world._replace(root=Root(write.expects + 1, write.epoch, write.member))
    return world._replace(things=_with(world.things, write.of, Thing(write.expects + 1, write.kind)))


def _tick(world: World) -> World:
    return world._replace(
        processes=tuple(
            one._replace(
                lease=min(one.lease + 1, LEASE),
                renewal=None if one.renewal is None else min(one.renewal + 1, LEASE),
                swap=None if one.swap is None else min(one.swap + 1, LEASE),
                sights=tuple(
                    None if sight is None else sight._replace(age=min(sight.age + 1, TIMEOUT)) for sight in one.sights
                ),
            )
            for one in world.processes
        )
    )


def _norm(world: World) -> World:
    """Forget writes that can never land any more, so that equal futures are equal worlds."""
    root = world.root.version
    return world._replace(
        sent=frozenset(
            write
            for write in world.sent
            if write.expects >= (root if write.of == NOBODY else world.things[write.of].version)
        )
    )


def _one_more(world: World) -> World:
    """The same world, and one more broker that has just come."""
    nothing = (None,) * (len(world.processes) + 1)
    fresh = Process(up=True, known=1, lease=0, sights=nothing)
    known = tuple(one._replace(sights=(*one.sights, None)) for one in world.processes)
    return world._replace(things=(*world.things, Thing(1, "live")), processes=(*known, fresh))


def _sent(world: World, write: Write) -> World:
    return world._replace(sent=world.sent | {write})


def _put(world: World, number: int, one: Process) -> World:
    return world._replace(processes=_with(world.processes, number, one))


def _serves(world: World, number: int, one: Process) -> World:
    serving = one._replace(role="term", swap=None)
    return _put(world, number, serving)._replace(served=max(world.served, one.epoch))


def _idle(one: Process) -> Process:
    return one._replace(role="", epoch=0, expects=0, swap=None)


def _with(items: tuple, position: int, item: object) -> tuple:  # type: ignore[type-arg]
    return (*items[:position], item, *items[position + 1 :])


def _who(number: int) -> str:
    return "ABCD"[number]


def _name(write: Write) -> str:
    if write.of == NOBODY:
        return f"the swap of the root to epoch {write.epoch} of {_who(write.member) if write.member >= 0 else 'nobody'}"
    return f"the write of {_who(write.of)}'s object ({write.kind})"
