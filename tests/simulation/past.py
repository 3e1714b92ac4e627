"""The way back in time: moments that must be kept are built, and whatever is built is what the log says."""

import asyncio
import random
from collections.abc import Callable, Iterator

from osqueue_service.engine.codec import replay, stamp_of
from osqueue_service.engine.past import NotCovered, Past, read_past
from osqueue_service.engine.rebuild import Rebuild
from osqueue_service.errors import CorruptObject
from osqueue_service.log.paths import segment_key
from osqueue_service.log.segment import Fence, decode
from osqueue_service.state.state import State
from tests.shelf import Shelf
from tests.simulation.points import contents
from tests.simulation.store import Bucket

MOMENTS_MAX = 6
CERTAIN = 0.8
"""This part of the retention, back from the last commit, is kept for certain: clocks differ a little."""


def kept_moments_equal_the_log(
    bucket: Bucket, begin: Callable[[], State], retention_ms: int, *, clocks_hold: bool, seed: int
) -> Iterator[str]:
    """Some moments of one world. Where wall clocks were set it is not said which ones are kept."""
    commits = _commits(bucket)
    if not retention_ms or not commits:
        return
    draw = random.Random(f"past {seed}")
    objects = {key: found.body for key, found in bucket.objects()}
    loop = asyncio.new_event_loop()
    try:
        state, applied = begin(), 0
        for number in sorted(draw.sample(range(len(commits)), min(MOMENTS_MAX, len(commits)))):
            at_ms = stamp_of(commits[number])
            while applied < len(commits) and stamp_of(commits[applied]) <= at_ms:
                replay(state, commits[applied])
                applied += 1
            rebuild = Rebuild()
            must = clocks_hold and stamp_of(commits[-1]) - at_ms <= CERTAIN * retention_ms
            try:
                past = loop.run_until_complete(read_past(Shelf(objects).settler(), rebuild, at_ms))
            except (NotCovered, CorruptObject) as refusal:
                if must:
                    yield f"restore: the moment {at_ms} should be kept, and {refusal}"
                continue
            assert isinstance(past, Past)
            if contents(rebuild.state) != contents(state):
                yield f"restore: the moment {at_ms} is built otherwise than the log says"
            rebuild.begin()
        state.take_apart()
    finally:
        loop.close()


def _commits(bucket: Bucket) -> list[bytes]:
    """The records of all commits, in their order."""
    found: list[bytes] = []
    lane, sequence = 0, 1
    while (landed := bucket.archive.get(segment_key(lane, sequence))) is not None:
        entry = decode(segment_key(lane, sequence), landed.body).entry
        sequence += 1
        if isinstance(entry, Fence):
            lane = entry.epoch
        else:
            found.append(entry.records)
    return found
