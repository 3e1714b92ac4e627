"""The leader is found in the queue's own root."""

import json

import pytest

from osqueue import DiscoveryError
from osqueue.discovery import LeaderFinder

ROOT = {"broker": "10.0.0.1:8080", "grpcAddress": "10.0.0.1:8081", "jobs": [], "completedTotal": 0}


class Storage:
    def __init__(self, objects):
        self.objects = objects

    async def read(self, key):
        found = self.objects.get(key)
        if isinstance(found, Exception):
            raise found
        return found


class Stored:
    def __init__(self, body):
        self.body = body


@pytest.mark.parametrize("wrap", [lambda body: body, Stored], ids=["bytes", "an object with a body"])
async def test_the_root_names_the_leader(wrap):
    storage = Storage({"team/queue.json": wrap(json.dumps(ROOT).encode())})
    assert await LeaderFinder(storage, "team/")() == "10.0.0.1:8081"


@pytest.mark.parametrize(
    ("root", "says"),
    [
        (None, "holds no queue.json"),
        (b"{", "not JSON"),
        (b"[]", "not the root of a queue"),
        (json.dumps({**ROOT, "broker": "", "grpcAddress": ""}).encode(), "no broker leads"),
        (json.dumps({"broker": "a:8080", "jobs": []}).encode(), "speaks no gRPC"),
        (OSError("disk on fire"), "cannot read queue.json: disk on fire"),
        (RuntimeError("bucket on fire"), "cannot read queue.json: bucket on fire"),
    ],
)
async def test_without_a_leader_the_error_says_why(root, says):
    with pytest.raises(DiscoveryError, match=says):
        await LeaderFinder(Storage({"queue.json": root}))()
