"""The log of a queue that is led, moved, parked, woken, deleted and created again.

What is modelled is every object that a recovery reads. Storage never forgets: a put, a swap or a delete that was
sent may take effect at any later time, again and again, whenever its condition holds. So lost answers, leaders that
slept and repeated requests need no states of their own; what became of a put is known only by reading its slot.

- The root names the leader and a checkpoint, and is changed by compare-and-swap only.
- A leader of epoch *e* appends to lane *e*. Whoever takes over replays from the root's checkpoint to the first
  empty slot, puts its fence there (which ends that lane and names the lane that goes on), reads the root again, and
  only then serves.
- A leader that **parks** the queue has settled every put, ends its term, writes a checkpoint and swaps the root:
  parked, with its lane among the **closed** ones. Nobody will ever put anything new into a closed lane but fences
  of candidates, so fences in closed lanes up to the root's checkpoint may be deleted; all other fences stay for
  ever.
- A queue's data lies under its **uid**. Deleting swaps the root to deleted and then deletes the uid's data, fences
  excepted; creating it again swaps that root to another uid, one epoch higher. A late delete of the old uid cannot
  meet the new data.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from tests.model.explore import Exploration, Step, Verdict

FENCE = -1
Commands = tuple[int, ...]
Slot = tuple[int, int, int]
"""uid, lane, sequence."""


class Entry(NamedTuple):
    """What lies in a slot. `before` stands for the hash chain: the commands that this one was computed on top of."""

    epoch: int
    who: int
    command: int
    before: Commands


class Root(NamedTuple):
    version: int
    epoch: int
    who: int
    uid: int
    checkpoint: tuple[int, int]
    closed: frozenset[int] = frozenset()
    state: Literal["led", "parked", "deleted"] = "led"


class Checkpoint(NamedTuple):
    uid: int
    name: tuple[int, int]
    commands: Commands


class Process(NamedTuple):
    """One life of one broker: idle, a candidate, recovering, behind its own fence, serving, or parking the queue."""

    role: Literal["", "candidate", "recovering", "fencing", "serving", "parking"] = ""
    epoch: int = 0
    expects: int = 0
    checkpoint: tuple[int, int] = (0, 0)
    uid: int = 0
    lane: int = 0
    next: int = 0
    commands: Commands = ()
    pending: tuple[int, ...] = ()
    """Commands put and not settled, the oldest first; the last ones of `commands`."""


class World(NamedTuple):
    root: Root
    log: frozenset[tuple[Slot, Entry]]
    checkpoints: frozenset[Checkpoint]
    puts: frozenset[tuple[Slot, Entry]]
    swaps: frozenset[tuple[int, Root]]
    deletes: frozenset[Slot | tuple[int, tuple[int, int]]]
    processes: tuple[Process, ...]
    told: tuple[tuple[int, int], ...]
    """For every command: 0 new, 1 sent, 2 acknowledged; and under which uid."""


class Broken(Exception):
    """A recovery cannot be done: what the root vouches for is not there, or does not fit."""


@dataclass(frozen=True)
class Lanes:
    """The model, with the bugs planted in it, and how much may happen."""

    processes: int = 2
    commands: int = 2
    epochs: int = 3
    depth: int = 1
    """Puts under way at once."""
    parks: bool = True
    moves: bool = True
    deletes: bool = False
    bugs: frozenset[str] = frozenset()

    def explore(self, limit: int = 2_000_000) -> Verdict:
        return Exploration(self.start(), self.steps, self.broken).run(limit=limit)

    def start(self) -> World:
        """The first process has just begun to serve a new queue: its fence ended lane 0."""
        root = Root(1, 1, 0, 1, (0, 0))
        fence = ((1, 0, 1), Entry(1, 0, FENCE, ()))
        leader = Process("serving", 1, 1, (0, 0), 1, 1, 2)
        others = (Process(),) * (self.processes - 1)
        nothing: frozenset[tuple[Slot, Entry]] = frozenset()
        return World(
            root, frozenset({fence}), frozenset({Checkpoint(1, (0, 0), ())}), nothing, frozenset(), frozenset(),
            (leader, *others), ((0, 0),) * self.commands,
        )  # fmt: skip

    # --- what must hold ------------------------------------------------------------------------------------------

    def broken(self, world: World) -> str:
        root = world.root
        if root.state == "deleted":
            return ""
        try:
            recovered = _recovered(root, world.log, world.checkpoints)
        except Broken as problem:
            return f"no recovery is possible: {problem}"
        for command, (told, uid) in enumerate(world.told):
            if told == 2 and uid == root.uid and command not in recovered:
                return f"command {command} was acknowledged, and a recovery finds {list(recovered)}"
        if len(set(recovered)) < len(recovered):
            return f"a command counts twice: {list(recovered)}"
        for one in world.processes:
            durable = one.commands[: len(one.commands) - len(one.pending)]
            serves = one.role == "serving" and one.uid == root.uid
            if serves and recovered[: len(durable)] != durable:
                return f"a leader serves {list(durable)}, and a recovery finds {list(recovered)}"
        return ""

    # --- what can happen -----------------------------------------------------------------------------------------

    def steps(self, world: World) -> Iterator[Step[World]]:
        for what, following in self._all_steps(world):
            yield what, _norm(following)

    def _all_steps(self, world: World) -> Iterator[Step[World]]:
        taken = {slot for slot, _ in world.log}
        for slot, entry in world.puts:
            if slot not in taken:
                yield f"{_entry(entry)} lands at {slot}", world._replace(log=world.log | {(slot, entry)})
        for expects, root in world.swaps:
            if expects == world.root.version:
                yield (
                    f"the root becomes {root.state}, epoch {root.epoch}, uid {root.uid}",
                    world._replace(root=root._replace(version=expects + 1)),
                )
        for doomed in world.deletes:
            yield from _deleted(world, doomed)
        for number, one in enumerate(world.processes):
            for what, following in self._process_steps(world, number, one):
                yield f"{'ABCD'[number]} {what}", following

    def _process_steps(self, world: World, number: int, one: Process) -> Iterator[Step[World]]:
        match one.role:
            case "":
                yield from self._take_over(world, number)
            case "candidate":
                yield from self._candidacy(world, number, one)
            case "recovering" | "fencing":
                yield from self._recover(world, number, one)
            case "serving":
                yield from self._serve(world, number, one)
            case "parking":
                if world.root.version != one.expects:
                    yield "reads what became of its park", self._parked(world, number, one)

    def _take_over(self, world: World, number: int) -> Iterator[Step[World]]:
        root = world.root
        if root.epoch >= self.epochs:
            return
        following = root._replace(epoch=root.epoch + 1, who=number, state="led")
        if root.state == "deleted":
            uid = root.uid if "uid used again" in self.bugs else root.uid + 1
            following = following._replace(uid=uid, checkpoint=(0, 0), closed=frozenset())
            # The new queue's empty state and the end of its lane 0 are the root's own, as those of the first were.
            world = world._replace(checkpoints=world.checkpoints | {Checkpoint(uid, (0, 0), ())})
        candidate = Process("candidate", following.epoch, root.version)
        yield "sends a swap of the root", _swap(_put(world, number, candidate), root.version, following)

    def _candidacy(self, world: World, number: int, one: Process) -> Iterator[Step[World]]:
        root = world.root
        if (root.epoch, root.who) == (one.epoch, number):
            began = Process("recovering", one.epoch, root.version, root.checkpoint, root.uid)
            yield "reads that the root is its own", _put(world, number, began)
        elif root.version != one.expects:
            yield "reads that another was faster", _put(world, number, Process(epoch=one.epoch))

    def _recover(self, world: World, number: int, one: Process) -> Iterator[Step[World]]:
        mine = (world.root.epoch, world.root.who) == (one.epoch, number) and world.root.state == "led"
        log = dict(world.log)
        if one.role == "fencing":
            found = log.get((one.uid, one.lane, one.next))
            if found is None:
                return  # it may still land
            if found == Entry(one.epoch, number, FENCE, one.commands):
                if mine or "no last look at the root" in self.bugs:
                    serving = one._replace(role="serving", lane=one.epoch, next=one.next + 1)
                    yield "finds its fence, and the root still its own: serves", _put(world, number, serving)
                else:
                    yield "finds its fence, but not the root: deposed", _put(world, number, Process(epoch=one.epoch))
                return
        try:
            lane, gap, commands, highest = _replay(one.uid, one.checkpoint, world.log, world.checkpoints)
        except Broken:
            if not mine:
                yield "cannot read on, and is deposed", _put(world, number, Process(epoch=one.epoch))
            return  # where the root is its own, `broken` says so of the same objects
        if highest > one.epoch:
            yield "meets a higher epoch: deposed", _put(world, number, Process(epoch=one.epoch))
            return
        fence = ((one.uid, lane, gap), Entry(one.epoch, number, FENCE, commands))
        fencing = one._replace(role="fencing", lane=lane, next=gap, commands=commands)
        yield f"puts its fence at {lane}/{gap}", _put(world, number, fencing)._replace(puts=world.puts | {fence})

    def _serve(self, world: World, number: int, one: Process) -> Iterator[Step[World]]:
        yield from self._append(world, number, one)
        yield from self._settle(world, number, one)
        mine = (world.root.epoch, world.root.who) == (one.epoch, number)
        if not mine or world.root.state != "led":
            return
        if self.parks and not one.pending:
            yield "parks", self._park(world, number, one)
        if self.moves and world.root.epoch < self.epochs:
            for target, other in enumerate(world.processes):
                if target != number and other.role == "":
                    yield f"gives the queue to {'ABCD'[target]}", self._give(world, number, target)
        if self.deletes:
            gone = world.root._replace(state="deleted")
            yield (
                "deletes the queue",
                _swap(
                    _put(world, number, Process("parking", one.epoch, world.root.version, uid=one.uid)),
                    world.root.version,
                    gone,
                ),
            )

    def _append(self, world: World, number: int, one: Process) -> Iterator[Step[World]]:
        if len(one.pending) >= self.depth:
            return
        for command, (status, _) in enumerate(world.told):
            if status:
                continue
            entry = ((one.uid, one.lane, one.next), Entry(one.epoch, number, command, one.commands))
            grown = one._replace(next=one.next + 1, commands=(*one.commands, command), pending=(*one.pending, command))
            sent = _put(world, number, grown)._replace(
                puts=world.puts | {entry}, told=_told(world, command, 1, one.uid)
            )
            yield f"puts command {command} at {one.lane}/{one.next}", sent
            return

    def _settle(self, world: World, number: int, one: Process) -> Iterator[Step[World]]:
        if not one.pending:
            return
        command = one.pending[0]
        slot = (one.uid, one.lane, one.next - len(one.pending))
        found = dict(world.log).get(slot)
        if found is None:
            return
        at = one.commands.index(command)
        if found == Entry(one.epoch, number, command, one.commands[:at]):
            done = _put(world, number, one._replace(pending=one.pending[1:]))
            yield f"acknowledges command {command}", done._replace(told=_told(world, command, 2, one.uid))
        else:
            yield "finds a fence in its lane: deposed", _put(world, number, Process(epoch=one.epoch))

    def _park(self, world: World, number: int, one: Process) -> World:
        """End the term, write the checkpoint, send the swap."""
        at = (one.next - 1, one.epoch)
        root = world.root._replace(checkpoint=at, closed=world.root.closed | {one.lane}, state="parked")
        ended = Process("parking", one.epoch, world.root.version, at, one.uid, one.lane)
        world = _swap(_put(world, number, ended), world.root.version, root)
        return world._replace(checkpoints=world.checkpoints | {Checkpoint(one.uid, at, one.commands)})

    def _parked(self, world: World, number: int, one: Process) -> World:
        """The swap landed or never will. Only where it landed anything is deleted."""
        root = world.root
        world = _put(world, number, Process(epoch=one.epoch))
        if (root.epoch, root.who, root.uid) != (one.epoch, number, one.uid):
            return world
        doomed: set[Slot | tuple[int, tuple[int, int]]] = set()
        for slot, entry in world.log:
            uid, lane, sequence = slot
            if uid != one.uid:
                continue
            below = sequence <= root.checkpoint[0]
            if entry.command == FENCE:
                closed = lane in root.closed or "fence deleted in an open lane" in self.bugs
                superfluous = root.state == "parked" and below and closed
            else:
                superfluous = root.state == "deleted" or below or lane < root.checkpoint[1]
            if superfluous:
                doomed.add(slot)
        doomed |= {
            (old.uid, old.name)
            for old in world.checkpoints
            if old.uid == one.uid and (root.state == "deleted" or old.name[0] < root.checkpoint[0])
        }
        return world._replace(deletes=world.deletes | doomed)

    def _give(self, world: World, number: int, target: int) -> World:
        """One swap: the next epoch, in the target's name. The giver's term is over, whatever becomes of it."""
        root = world.root
        invited = Process("candidate", root.epoch + 1, root.version)
        given = root._replace(epoch=root.epoch + 1, who=target)
        one = world.processes[number]
        if "served on after giving" not in self.bugs:
            one = Process(epoch=one.epoch)
        return _swap(_put(_put(world, number, one), target, invited), root.version, given)


# --- what every reader does ------------------------------------------------------------------------------------------


def _replay(
    uid: int,
    checkpoint: tuple[int, int],
    log: frozenset[tuple[Slot, Entry]],
    checkpoints: frozenset[Checkpoint],
) -> tuple[int, int, Commands, int]:
    """Lane and sequence of the first gap, the commands up to it, and the highest epoch met."""
    states = {one.name: one.commands for one in checkpoints if one.uid == uid}
    if checkpoint not in states:
        raise Broken(f"checkpoint {checkpoint} of uid {uid} is gone")
    commands, lane, sequence, highest = states[checkpoint], checkpoint[1], checkpoint[0] + 1, 0
    slots = dict(log)
    while (entry := slots.get((uid, lane, sequence))) is not None:
        highest = max(highest, entry.epoch)
        if entry.before != commands:
            raise Broken(f"the chain breaks at {lane}/{sequence}")
        if entry.command == FENCE:
            lane = entry.epoch
        else:
            commands = (*commands, entry.command)
        sequence += 1
    return lane, sequence, commands, highest


@lru_cache(maxsize=100_000)
def _recovered(root: Root, log: frozenset[tuple[Slot, Entry]], checkpoints: frozenset[Checkpoint]) -> Commands:
    return _replay(root.uid, root.checkpoint, log, checkpoints)[2]


# --- storage ---------------------------------------------------------------------------------------------------------


def _deleted(world: World, doomed: Slot | tuple[int, tuple[int, int]]) -> Iterator[Step[World]]:
    if len(doomed) == 3:
        found = {one for one in world.log if one[0] == doomed}
        if found:
            yield f"the object at {doomed} is deleted", world._replace(log=world.log - found)
    else:
        old = {one for one in world.checkpoints if (one.uid, one.name) == doomed}
        if old:
            yield f"checkpoint {doomed} is deleted", world._replace(checkpoints=world.checkpoints - old)


def _norm(world: World) -> World:
    """Forget what can have no effect any more, so that equal futures are equal worlds."""
    version = world.root.version
    return world._replace(swaps=frozenset(swap for swap in world.swaps if swap[0] >= version))


def _swap(world: World, expects: int, root: Root) -> World:
    return world._replace(swaps=world.swaps | {(expects, root)})


def _put(world: World, number: int, one: Process) -> World:
    processes = world.processes
    return world._replace(processes=(*processes[:number], one, *processes[number + 1 :]))


def _told(world: World, command: int, told: int, uid: int) -> tuple[tuple[int, int], ...]:
    return (*world.told[:command], (told, uid), *world.told[command + 1 :])


def _entry(entry: Entry) -> str:
    return f"the fence of epoch {entry.epoch}" if entry.command == FENCE else f"command {entry.command}"
