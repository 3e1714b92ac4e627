"""The stream between a standby and its leader, as the standby sees it."""

import asyncio
from typing import Any

import grpc
import pytest

from osqueue_service.app import App
from osqueue_service.rpc.standby_service.attendance import FEATURES_MAX
from osqueue_stubs.osqueue.v1 import queue_pb2, standby_pb2, standby_pb2_grpc
from tests.calls import Queue, refused

ADDRESS = "standby:8081"


@pytest.fixture
async def call(channel: grpc.aio.Channel) -> Any:
    return standby_pb2_grpc.StandbyServiceStub(channel).Attend()  # type: ignore[no-untyped-call]


def at(followed: int, address: str = ADDRESS, **fields: Any) -> standby_pb2.AttendRequest:
    return standby_pb2.AttendRequest(address=address, followed=followed, **fields)


async def commits(queue: Queue, count: int) -> None:
    for _ in range(count):
        await queue.SubmitJob(queue_pb2.SubmitJobRequest(payload=b"1"))


async def test_a_standby_is_told_that_the_leader_leaves_and_waited_for(app: App, queue: Queue, call: Any) -> None:
    await commits(queue, 160)
    engine = app.broker.engine
    await call.write(at(1))
    assert await call.read() == standby_pb2.AttendResponse(sequence=engine.sequence)
    await commits(queue, 1)
    assert await call.read() == standby_pb2.AttendResponse(sequence=engine.sequence)
    stopping = asyncio.ensure_future(app.broker.stop())
    assert await call.read() == standby_pb2.AttendResponse(leaving=True, sequence=engine.sequence)
    await commits(queue, 1)  # it serves on
    await call.write(at(engine.sequence))
    assert await call.read() == standby_pb2.AttendResponse(leaving=True, yours=True)
    assert not app.broker.is_leader
    assert await call.read() is grpc.aio.EOF
    await stopping


async def test_another_is_told_too_and_not_that_it_is_the_one(app: App, call: Any, channel: grpc.aio.Channel) -> None:
    other = standby_pb2_grpc.StandbyServiceStub(channel).Attend()  # type: ignore[no-untyped-call]
    for each, followed in ((call, 10_000), (other, 0)):
        await each.write(at(followed))
        await each.read()
    await app.broker.stop()
    assert [(await call.read()).leaving, (await call.read()).yours, await call.read()] == [True, True, grpc.aio.EOF]
    assert [(await other.read()).leaving, await other.read()] == [True, grpc.aio.EOF]


async def test_one_that_hangs_up_is_forgotten(app: App, queue: Queue, call: Any) -> None:
    await commits(queue, 160)
    await call.write(at(1))
    await call.read()
    standbys = app.broker.standbys
    assert len(standbys) == 1
    stopping = asyncio.ensure_future(app.broker.stop())
    await call.read()
    call.cancel()
    async with asyncio.timeout(5):
        await stopping
    assert len(standbys) == 0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (at(1, ""), "address: is required"),
        (at(-1), "followed: is -1"),
        (at(1, "a\nb"), "address: contains U+000A"),
        (at(1, release="9" * 129), "release: has 129 characters; at most 128 are allowed (id_chars)"),
        (at(1, features=["f"] * 1_001), "features: has 1,001 elements; at most 1,000 are allowed (FEATURES_MAX)"),
        (at(1, features=["limits", "f" * 129]), "features[1]: has 129 characters; at most 128 are allowed (id_chars)"),
        (at(1, features=[""]), "features[0]: is required"),
    ],
)
async def test_positions_are_checked(app: App, call: Any, wrong: standby_pb2.AttendRequest, says: str) -> None:
    await call.write(wrong)
    with refused("INVALID_REQUEST") as refusal:
        await call.read()
    assert says in refusal.message
    assert len(app.broker.standbys) == 0


async def test_a_later_position_is_checked_too(app: App, call: Any) -> None:
    await call.write(at(1))
    await call.read()
    await call.write(at(-1))
    with refused("INVALID_REQUEST"):
        await call.read()


async def test_a_broker_that_does_not_lead_is_not_attended(app: App, call: Any) -> None:
    await app.broker.stop()
    with refused("NOT_LEADER"):  # before anything was sent: what is sent to a call that has ended fails in other ways
        await call.read()


async def test_as_much_as_a_standby_may_say_of_itself_is_taken(app: App, call: Any) -> None:
    assert FEATURES_MAX == 1_000
    features = [f"{number:0128}" for number in range(FEATURES_MAX)]
    await call.write(at(1, release="9" * 128, features=features))
    await call.read()
    (standby,) = app.broker.standbys.attending
    assert standby.features == frozenset(features)
