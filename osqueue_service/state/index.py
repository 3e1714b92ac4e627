"""The orders in which jobs are kept: by key, and by the moment at which something is due.

An `Index` takes constant time at both ends, O(log n) anywhere else. It is a doubly linked
list of nodes in ascending key order, with an anchor to the first node of every block of 64
consecutive keys. Keys grow with every job submitted, so a block is a fixed range of keys and
nothing is ever rebalanced: appending and taking from the front touch one block, and a job
that comes back to its old place finds its block by bisection. The first block needs no
anchor, because it begins where the list does: there may be as many lines of one job as jobs.

Why not a sorted container: this one costs 64 bytes a job, and because its nodes are
invisible to the garbage collector a full collection does not visit a million of them.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

from osqueue_service.state.model import Job, Node

_BLOCK_BITS = 6
_NUMBER_BITS = 40
NUMBERS = 1 << _NUMBER_BITS
"""More than there are jobs, ever."""
_NUMBER_MASK = NUMBERS - 1
PIECE = 1_000
"""Deadlines in one piece. Moving half as many in memory takes about as long as finding the place."""


class Index:
    """Jobs in ascending order of an integer key. A job is in it at most once."""

    __slots__ = ("_anchors", "_blocks", "count", "first", "last")

    def __init__(self) -> None:
        self.first: Node | None = None
        self.last: Node | None = None
        self.count = 0
        # The first node of every block, of the first block maybe; and those blocks in order. None until there are two.
        self._anchors: dict[int, Node] | None = None
        self._blocks: list[int] | None = None

    def __len__(self) -> int:
        return self.count

    def add(self, key: int, job: Job) -> Node:
        """Insert the job at its key, which must not be taken; the node is the handle for `remove`."""
        node = Node(key, job)
        last = self.last
        if last is None:
            self.first = node
        elif last.key < key:
            node.before = last
            last.after = node
            if last.key >> _BLOCK_BITS != key >> _BLOCK_BITS:
                self._anchor(node)
        else:
            self._insert(node)
            return node
        self.last = node
        self.count += 1
        return node

    def remove(self, node: Node) -> None:
        """Take the node out. Its links are cleared, so that no cycle keeps it alive."""
        before, after = node.before, node.after
        if before is None:
            self.first = after
        else:
            before.after = after
        if after is None:
            self.last = before
        else:
            after.before = before
        node.before = node.after = None
        self.count -= 1
        anchors = self._anchors
        if anchors and anchors.get(node.key >> _BLOCK_BITS) is node:
            self._unanchor(node, after)

    def from_key(self, key: int) -> Iterator[Job]:
        """The jobs whose key is at least `key`, ascending. The index must not change meanwhile."""
        node = self._seek(key)
        while node is not None:
            yield node.job
            node = node.after

    def __iter__(self) -> Iterator[Job]:
        node = self.first
        while node is not None:
            yield node.job
            node = node.after

    def backwards(self) -> Iterator[Job]:
        """All jobs, the highest key first. The index must not change meanwhile."""
        node = self.last
        while node is not None:
            yield node.job
            node = node.before

    def down_from(self, key: int) -> Iterator[Job]:
        """The jobs whose key is at most `key`, descending. The index must not change meanwhile."""
        above = self._seek(key + 1)
        node = self.last if above is None else above.before
        while node is not None:
            yield node.job
            node = node.before

    def _seek(self, key: int) -> Node | None:
        """The first node whose key is at least `key`."""
        node = self.first
        block = key >> _BLOCK_BITS
        if node is not None and node.key >> _BLOCK_BITS < block:
            anchors, blocks = self._anchors or {}, self._blocks or ()
            at = bisect_left(blocks, block)
            if at == len(blocks):
                return None
            node = anchors[blocks[at]]
        while node is not None and node.key < key:
            node = node.after
        return node

    def _insert(self, node: Node) -> None:
        """Add a node that does not belong at the end."""
        after = self._seek(node.key)
        assert after is not None and after.key != node.key, "the key is taken"
        before = after.before
        node.before, node.after = before, after
        after.before = node
        self.count += 1
        block = node.key >> _BLOCK_BITS
        if before is None:
            self.first = node
            if after.key >> _BLOCK_BITS != block:
                self._anchor(after)  # it is no longer the first of all, but still of its block
        else:
            before.after = node
        if before is None or before.key >> _BLOCK_BITS != block:
            self._anchor(node)

    def _anchor(self, node: Node) -> None:
        """The node is the first of its block."""
        if self._anchors is None or self._blocks is None:
            self._anchors, self._blocks = {}, []
        block = node.key >> _BLOCK_BITS
        if block not in self._anchors:
            insort(self._blocks, block)
        self._anchors[block] = node

    def _unanchor(self, node: Node, after: Node | None) -> None:
        """The node, which was the first of its block, is gone. The one after it takes its place, unless it is of
        another block, or now the first of all."""
        assert self._anchors is not None and self._blocks is not None
        block = node.key >> _BLOCK_BITS
        if after is not None and after.before is not None and after.key >> _BLOCK_BITS == block:
            self._anchors[block] = after
        else:
            del self._anchors[block]
            del self._blocks[bisect_left(self._blocks, block)]


class Deadlines:
    """Job numbers in ascending order of a time in milliseconds.

    An entry is one integer, `moment << 40 | number`: it sorts like the pair, costs half of a tuple, and is removed for
    good when its job moves on, so that a queue that completes millions of jobs an hour does not carry their deadlines
    around.

    The entries stand in short pieces, one after the other. Most moments are later than all before them, and then adding
    touches the last piece only; a general sorted container takes half as long again.
    """

    __slots__ = ("_bounds", "_count", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[list[int]] = [[]]
        """None is empty, unless it is the only one."""
        self._bounds: list[int] = []
        """For each piece but the last, what none of its entries exceeds and every entry of the next does."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, at_ms: int, number: int) -> None:
        """Something is due for this number then."""
        entry = at_ms << _NUMBER_BITS | number
        self._count += 1
        last = self._pieces[-1]
        if last and entry < last[-1]:
            self._insert(entry)
        elif len(last) < PIECE:
            last.append(entry)
        else:
            self._bounds.append(last[-1])
            self._pieces.append([entry])

    def remove(self, at_ms: int, number: int) -> None:
        """Take back exactly what was added; anything else is a broken index, and a ValueError."""
        entry = at_ms << _NUMBER_BITS | number
        at = bisect_left(self._bounds, entry)
        piece = self._pieces[at]
        place = bisect_left(piece, entry)
        if place == len(piece) or piece[place] != entry:
            raise ValueError(f"nothing is due for {number} at {at_ms}")
        del piece[place]
        self._count -= 1
        if not piece and self._bounds:
            del self._pieces[at]
            del self._bounds[min(at, len(self._bounds) - 1)]

    def next_ms(self) -> int | None:
        """The earliest moment, or None when nothing is due ever."""
        return self._pieces[0][0] >> _NUMBER_BITS if self._count else None

    def after(self, at_ms: int, number: int) -> Iterator[int]:
        """The numbers behind this one at this moment, earliest first. Do not change it meanwhile."""
        bound = at_ms << _NUMBER_BITS | number
        at = bisect_left(self._bounds, bound)
        start = bisect_right(self._pieces[at], bound)
        for piece in self._pieces[at:]:
            for place in range(start, len(piece)):
                yield piece[place] & _NUMBER_MASK
            start = 0

    def due(self, now_ms: int) -> Iterator[int]:
        """The numbers whose moment is `now_ms` or earlier, earliest first. Do not change it meanwhile."""
        bound = (now_ms + 1) << _NUMBER_BITS
        for piece in self._pieces:
            for entry in piece:
                if entry >= bound:
                    return
                yield entry & _NUMBER_MASK

    def __iter__(self) -> Iterator[int]:
        """All numbers, the earliest first."""
        for piece in self._pieces:
            for entry in piece:
                yield entry & _NUMBER_MASK

    def _insert(self, entry: int) -> None:
        """Add an entry that does not belong at the end."""
        at = bisect_left(self._bounds, entry)
        piece = self._pieces[at]
        insort(piece, entry)
        if len(piece) > 2 * PIECE:
            self._pieces[at : at + 1] = piece[:PIECE], piece[PIECE:]
            self._bounds.insert(at, piece[PIECE - 1])
