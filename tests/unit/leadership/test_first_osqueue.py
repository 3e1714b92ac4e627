"""A broker of the first osqueue that wakes up over a queue that was adopted from it.

Its whole state is `queue.json`: it reads that, elects itself when the heartbeat is old, changes `jobs` (an array),
keeps every field that it does not know, and writes the object back if nobody has meanwhile.
"""

import asyncio
import json
from typing import Any

import pytest

from osqueue_service.errors import CorruptObject, StoreRefused
from osqueue_service.log.paths import ROOT
from osqueue_service.storage.memory import MemoryBucket
from tests.unit.leadership.brokers import TestBroker, kill, now_ms, pass_ms
from tests.unit.log.virtual import run

BEFORE = {
    "broker": "http://old:8080",
    "brokerHeartbeat": 5,
    "jobs": [{"id": "j1", "status": "unclaimed", "payload": "1"}],
    "completedTotal": 41,
}


class FirstOsqueue:
    """Its behaviour, not its code."""

    def __init__(self, bucket: MemoryBucket) -> None:
        self._bucket = bucket
        self._version = ""
        self.state: dict[str, Any] = {}

    def read(self) -> None:
        stored = self._bucket.get(ROOT)
        assert stored is not None
        self._version, self.state = stored.version, json.loads(stored.body)

    def submit(self, job_id: str) -> None:
        """As its broker does: over the jobs that it knows."""
        self._write(jobs=[*self.state["jobs"], {"id": job_id, "status": "unclaimed", "payload": "2"}])

    def elect_itself(self) -> None:
        """Claims the queue; all else is kept."""
        self._write(broker="http://old:8080", brokerHeartbeat=int(now_ms()))

    def _write(self, **changed: Any) -> None:
        stored = self._bucket.get(ROOT)
        assert stored is not None
        if stored.version != self._version:
            raise StoreRefused("412")
        self.state = {**self.state, **changed}
        self._version = self._bucket.overwrite(ROOT, json.dumps(self.state).encode())


def woken(bucket: MemoryBucket) -> FirstOsqueue:
    """One that has read its queue before it fell asleep."""
    bucket.overwrite(ROOT, json.dumps(BEFORE).encode())
    sleeper = FirstOsqueue(bucket)
    sleeper.read()
    return sleeper


def test_what_it_held_when_it_fell_asleep_it_cannot_write() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        sleeper = woken(bucket)
        term = await TestBroker(bucket, "a").elect(skip_wait=True)
        with pytest.raises(StoreRefused):
            sleeper.submit("late")
        assert term.is_live()

    run(scenario())


def test_an_adopted_queue_is_none_that_it_could_serve() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        sleeper = woken(bucket)
        await TestBroker(bucket, "a").elect(skip_wait=True)
        sleeper.read()
        assert sleeper.state["broker"] == "http://a:8080", "its clients find who leads"
        with pytest.raises(KeyError, match="jobs"):
            sleeper.submit("lost")

    run(scenario())


def test_a_leader_whose_root_it_has_written_leads_no_more_and_nobody_takes_that_root_for_ours() -> None:
    """The epoch and all else that we wrote are still in it: what a writer carries along proves nothing."""

    async def scenario() -> None:
        bucket = MemoryBucket()
        sleeper = woken(bucket)
        term = await TestBroker(bucket, "a").elect(skip_wait=True)
        await term.appender.append(b"x", 1)
        sleeper.read()
        sleeper.elect_itself()
        assert isinstance(await term.lost, CorruptObject)
        assert not term.is_live()
        kill(term)
        with pytest.raises(CorruptObject, match=ROOT):
            await TestBroker(bucket, "b").elect(skip_wait=True)

    run(scenario())


def test_a_standby_does_not_follow_it() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        sleeper = woken(bucket)
        term = await TestBroker(bucket, "a").elect(skip_wait=True)
        standby = asyncio.ensure_future(TestBroker(bucket, "b").elect())
        await pass_ms(100)
        sleeper.read()
        sleeper.elect_itself()
        await pass_ms(60_000)
        assert not term.is_live()
        assert standby.done() and isinstance(standby.exception(), CorruptObject)

    run(scenario())
