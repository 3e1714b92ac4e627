"""The orders in which jobs are kept: by key, and by the moment at which something is due.

An `Index` takes constant time at both ends, O(log n) anywhere else. It is a doubly linked
list of nodes in ascending key order, with an anchor to the first node of every block of 64
consecutive keys. Keys grow with every job submitted, so a block is a fixed range of keys and
nothing is ever rebalanced: appending and taking from the front touch one block, and a job
that comes back to its old place finds its block by bisection. A single job needs no anchor:
there may be as many lines of one job as jobs.

Why not a sorted container: this one costs 64 bytes a job, and because its nodes are
invisible to the garbage collector a full collection does not visit a million of them.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator

from sortedcontainers import SortedList

from osqueue_service.state.model import Job, Node

_BLOCK_BITS = 6
_NUMBER_BITS = 40
_NUMBER_MASK = (1 << _NUMBER_BITS) - 1


class Index:
    """Jobs in ascending order of an integer key. A job is in it at most once."""

    __slots__ = ("_anchors", "_blocks", "count", "first", "last")

    def __init__(self) -> None:
        self.first: Node | None = None
        self.last: Node | None = None
        self.count = 0
        # Both or none: from the second job on, until the last one leaves.
        self._anchors: dict[int, Node] | None = None
        self._blocks: list[int] | None = None

    def __len__(self) -> int:
        return self.count

    def add(self, key: int, job: Job) -> Node:
        """Insert the job at its key, which must not be taken; the node is the handle for `remove`."""
        node = Node(key, job)
        last = self.last
        if last is None:
            self.first = self.last = node
            self.count = 1
            return node
        anchors, blocks = self._anchors, self._blocks
        if anchors is None or blocks is None:
            anchors, blocks = self._anchor(last)
        if last.key > key:
            self._insert(node, anchors, blocks)
            return node
        assert last.key != key, "the key is taken"
        node.before = last
        last.after = node
        self.last = node
        self.count += 1
        block = key >> _BLOCK_BITS
        if block not in anchors:
            anchors[block] = node
            blocks.append(block)
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
        anchors, blocks = self._anchors, self._blocks
        if anchors is None or blocks is None:
            return
        if not self.count:
            self._anchors = self._blocks = None
            return
        block = node.key >> _BLOCK_BITS
        if anchors[block] is node:
            if after is not None and after.key >> _BLOCK_BITS == block:
                anchors[block] = after
            else:
                del anchors[block]
                del blocks[bisect_left(blocks, block)]

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

    def _seek(self, key: int) -> Node | None:
        """The first node whose key is at least `key`."""
        node = self.first
        if self._anchors is not None and self._blocks is not None:
            at = bisect_left(self._blocks, key >> _BLOCK_BITS)
            if at == len(self._blocks):
                return None
            node = self._anchors[self._blocks[at]]
        while node is not None and node.key < key:
            node = node.after
        return node

    def _anchor(self, only: Node) -> tuple[dict[int, Node], list[int]]:
        """Begin to keep anchors; so far there is one job."""
        block = only.key >> _BLOCK_BITS
        self._anchors, self._blocks = {block: only}, [block]
        return self._anchors, self._blocks

    def _insert(self, node: Node, anchors: dict[int, Node], blocks: list[int]) -> None:
        """Add a node that does not belong at the end."""
        after = self._seek(node.key)
        assert after is not None and after.key != node.key, "the key is taken"
        before = after.before
        node.before, node.after = before, after
        after.before = node
        if before is None:
            self.first = node
        else:
            before.after = node
        self.count += 1
        block = node.key >> _BLOCK_BITS
        anchor = anchors.get(block)
        if anchor is None:
            insort(blocks, block)
        if anchor is None or anchor.key > node.key:
            anchors[block] = node


class Deadlines:
    """Job numbers in ascending order of a time in milliseconds.

    An entry is one integer, `moment << 40 | number`: it sorts like the pair, costs half of a tuple, and is removed for
    good when its job moves on, so that a queue that completes millions of jobs an hour does not carry their deadlines
    around.
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: SortedList[int] = SortedList()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, at_ms: int, number: int) -> None:
        self._entries.add(at_ms << _NUMBER_BITS | number)

    def remove(self, at_ms: int, number: int) -> None:
        """Take back exactly what was added; a KeyError-like failure here is a broken index."""
        self._entries.remove(at_ms << _NUMBER_BITS | number)

    def next_ms(self) -> int | None:
        """The earliest moment, or None when nothing is due ever."""
        return self._entries[0] >> _NUMBER_BITS if self._entries else None

    def due(self, now_ms: int) -> Iterator[int]:
        """The numbers whose moment is `now_ms` or earlier, earliest first. Do not change it meanwhile."""
        bound = (now_ms + 1) << _NUMBER_BITS
        for entry in self._entries:
            if entry >= bound:
                return
            yield entry & _NUMBER_MASK

    def __iter__(self) -> Iterator[int]:
        """All numbers, the earliest first."""
        for entry in self._entries:
            yield entry & _NUMBER_MASK
