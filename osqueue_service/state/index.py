"""An ordered set of jobs: constant time at both ends, O(log n) anywhere else.

A doubly linked list of nodes in ascending key order, with an anchor to the first node of
every block of 64 consecutive keys. Keys grow with every job submitted, so a block is a
fixed range of keys and nothing is ever rebalanced: appending and taking from the front
touch one block, and a job that comes back to its old place finds its block by bisection.

Why not a sorted container: this one costs 64 bytes a job, and because its nodes are
invisible to the garbage collector a full collection does not visit a million of them.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator

from osqueue_service.state.model import Job, Node

_BLOCK_BITS = 6


class Index:
    """Jobs in ascending order of an integer key. A job is in it at most once."""

    __slots__ = ("_anchors", "_blocks", "count", "first", "last")

    def __init__(self) -> None:
        self.first: Node | None = None
        self.last: Node | None = None
        self.count = 0
        self._anchors: dict[int, Node] = {}
        self._blocks: list[int] = []

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
        else:
            return self._insert(node)
        self.last = node
        self.count += 1
        block = key >> _BLOCK_BITS
        if block not in self._anchors:
            self._anchors[block] = node
            self._blocks.append(block)
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
        block = node.key >> _BLOCK_BITS
        if self._anchors[block] is node:
            if after is not None and after.key >> _BLOCK_BITS == block:
                self._anchors[block] = after
            else:
                del self._anchors[block]
                del self._blocks[bisect_left(self._blocks, block)]

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
        blocks = self._blocks
        at = bisect_left(blocks, key >> _BLOCK_BITS)
        if at == len(blocks):
            return None
        node: Node | None = self._anchors[blocks[at]]
        while node is not None and node.key < key:
            node = node.after
        return node

    def _insert(self, node: Node) -> Node:
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
        anchor = self._anchors.get(block)
        if anchor is None:
            insort(self._blocks, block)
        if anchor is None or anchor.key > node.key:
            self._anchors[block] = node
        return node
