"""Every checkpoint that a root ever vouched for, compared with the log: not only those that a recovery began with."""

import asyncio
from collections.abc import Callable, Iterator

from osqueue_service.clock import SystemClock
from osqueue_service.engine.codec import replay
from osqueue_service.errors import CorruptObject
from osqueue_service.ids import SystemIds
from osqueue_service.log import LogCounters, Root, Settler
from osqueue_service.log.checkpoints import read_checkpoint
from osqueue_service.log.paths import segment_key
from osqueue_service.log.segment import Fence, decode
from osqueue_service.state import image
from osqueue_service.state.state import State
from osqueue_service.storage.memory import MemoryBucket, MemoryStore
from tests.simulation.store import Bucket

POINTS_MAX = 12
"""So many of one world's are looked at, spread over its life."""


def checkpoints_equal_the_log(bucket: Bucket, begin: Callable[[], State]) -> Iterator[str]:
    """Rule 11: a checkpoint holds what a replay of the whole log up to its sequence holds, byte for byte."""
    roots: dict[int, Root] = {}
    for _, root in bucket.root_history:
        if root.checkpoint.form in ("inline", "objects"):
            roots.setdefault(root.checkpoint.sequence, root)
    chosen = sorted(roots)[:: max(1, -(-len(roots) // POINTS_MAX))]
    state, lane, sequence = begin(), 0, 0
    for wanted in chosen:
        while sequence < wanted:
            sequence += 1
            key = segment_key(lane, sequence)
            written = bucket.archive.get(key)
            if written is None:
                yield f"rule 11: a checkpoint stands for commit {wanted}, and nothing was ever written at {key}"
                return
            entry = decode(key, written.body).entry
            if isinstance(entry, Fence):
                lane = entry.epoch
            else:
                replay(state, entry.records)
        try:
            loaded = _load(bucket, roots[wanted])
        except CorruptObject as corrupt:
            yield f"rule 15: the checkpoint of commit {wanted} was vouched for, and cannot be read: {corrupt}"
            return
        if contents(loaded) != contents(state):
            yield f"rule 11: the checkpoint of commit {wanted} holds another state than the log up to there"
        loaded.take_apart()
    state.take_apart()


def contents(state: State) -> tuple[list[bytes], list[object]]:
    """All that a state holds. What is remembered is looked at itself, too, not only as a snapshot tells it."""
    memories = (state.keys, state.requests, state.settled)
    return image.encode(state), [entry for memory in memories for entries in memory.slices() for entry in entries]


def _load(bucket: Bucket, root: Root) -> State:
    copy = MemoryBucket()
    ref = root.checkpoint
    for key, landed in bucket.archive.items():
        if key.startswith(f"checkpoints/{ref.sequence:016d}-{ref.epoch:010d}/"):
            copy.overwrite(key, landed.body)
    state = State()
    loop = asyncio.new_event_loop()
    try:
        store = MemoryStore(copy)
        settler = Settler(store, SystemClock(), SystemIds(), LogCounters())
        loop.run_until_complete(read_checkpoint(settler, root, image.Loader(state).load))
    finally:
        loop.close()
    return state
