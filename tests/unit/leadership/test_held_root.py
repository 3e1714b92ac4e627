"""The root as its leader holds it: which bodies it knows for its own."""

import pytest

from osqueue_service.errors import CorruptObject
from osqueue_service.leadership.held_root import SENT_MAX, Heartbeat, HeldRoot
from osqueue_service.storage.memory import MemoryBucket
from osqueue_service.storage.store import StoredObject
from tests.unit.log.fixtures import settler_over
from tests.unit.log.test_root import ROOT
from tests.unit.log.virtual import run


def test_a_leader_knows_the_last_bodies_that_it_sent() -> None:
    assert SENT_MAX == 1_024

    async def scenario() -> None:
        bucket = MemoryBucket()
        version = bucket.overwrite("queue.json", ROOT.encode())
        held = HeldRoot(settler_over(bucket), Heartbeat(), ROOT, version, 0)
        first = StoredObject(ROOT.encode(), "any")
        for _ in range(SENT_MAX - 1):
            await held.swap(lambda root: root)
        assert held.mine(first)[0] == ROOT
        await held.swap(lambda root: root)
        with pytest.raises(CorruptObject, match="written over by another program"):
            held.mine(first)
        assert held.mine(bucket.get("queue.json"))[0] == held.root

    run(scenario())
