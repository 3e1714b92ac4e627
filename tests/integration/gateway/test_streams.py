"""Server-sent events and the streamed state."""

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from osqueue.errors import OsqueueError
from osqueue_gateway.config import GatewayConfig
from osqueue_gateway.limits import Limits
from osqueue_stubs.osqueue.v1 import admin_pb2, job_pb2, queue_pb2
from tests.integration.gateway.gateways import HOST, Caller, running
from tests.integration.gateway.scripted import ScriptedLink, until


@pytest.fixture
async def scripted() -> AsyncIterator[tuple[ScriptedLink, Caller]]:
    link = ScriptedLink()
    async with running(
        GatewayConfig(host=HOST, port=0, limits=Limits(event_comment_ms=300, streams=2)), link
    ) as caller:
        yield link, caller


async def block(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """The fields of the next event or comment; comments are under ""."""
    fields: dict[str, str] = {}
    async with asyncio.timeout(5):
        while line := (await answer.content.readline()).decode().rstrip("\n"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
    return fields


async def test_events_of_a_real_queue(caller: Caller) -> None:
    async with caller.session.get(caller.url + "/v1/events?types=email") as events:
        if events.status == 501:
            pytest.fail(await events.text())
        assert events.headers["Content-Type"] == "text/event-stream"
        assert await block(events) == {"retry": "1000"}
        job = await caller.post("/v1/jobs", '{"payload": 1, "type": "email"}')
        while "data" not in (event := await block(events)):
            pass
        assert event["event"] == "job"
        assert json.loads(event["data"])["jobId"] == job["jobId"]
        assert event["id"].count(".") == 1


def jobs_frame(sequence: int, *ids: str) -> queue_pb2.WatchJobsResponse:
    events = [queue_pb2.JobEvent(kind=queue_pb2.JOB_EVENT_KIND_SUBMITTED, job_id=job_id) for job_id in ids]
    return queue_pb2.WatchJobsResponse(events=events, position=job_pb2.ReadPosition(epoch=3, sequence=sequence))


async def test_only_the_last_event_of_a_frame_has_its_position(scripted: tuple[ScriptedLink, Caller]) -> None:
    link, caller = scripted
    async with caller.session.get(caller.url + "/v1/events") as events:
        await block(events)
        link.frames.put_nowait(jobs_frame(9, "a", "b"))
        found = []
        while len(found) < 2:
            event = await block(events)
            if "data" in event:
                found.append(event)
        assert [event.get("id") for event in found] == [None, "3.9"]


async def test_a_reader_that_comes_back_goes_on_where_it_was(scripted: tuple[ScriptedLink, Caller]) -> None:
    link, caller = scripted
    async with caller.session.get(caller.url + "/v1/events", headers={"Last-Event-ID": "3.9"}):
        assert (link.streamed[0].after.epoch, link.streamed[0].after.sequence) == (3, 9)
    async with caller.session.get(caller.url + "/v1/events?after=4.1"):
        assert (link.streamed[1].after.epoch, link.streamed[1].after.sequence) == (4, 1)
    await until(lambda: link.open_streams == 0)


async def test_a_quiet_stream_is_kept_open_with_comments(scripted: tuple[ScriptedLink, Caller]) -> None:
    _, caller = scripted
    async with caller.session.get(caller.url + "/v1/events") as events:
        await block(events)
        assert [await block(events) for _ in range(3)] == [{"": "quiet"}] * 3


async def test_a_refusal_comes_as_http(scripted: tuple[ScriptedLink, Caller]) -> None:
    link, caller = scripted
    link.frames.put_nowait(OsqueueError("too many watchers", reason="TOO_MANY_REQUESTS"))
    asked = await caller.ask("GET", "/v1/events")
    assert (asked.status, asked.json()["_tag"]) == (429, "QueueFullError")


async def test_a_stream_that_breaks_tells_its_reader_why(scripted: tuple[ScriptedLink, Caller]) -> None:
    link, caller = scripted
    async with caller.session.get(caller.url + "/v1/events") as events:
        await block(events)
        await block(events)
        link.frames.put_nowait(OsqueueError("the broker steps down", reason="NOT_LEADER"))
        while "data" not in (event := await block(events)):
            pass
        assert event["event"] == "error"
        assert json.loads(event["data"])["_tag"] == "BrokerLeadershipError"
        assert await events.content.read() == b""


async def test_streams_are_limited(scripted: tuple[ScriptedLink, Caller]) -> None:
    _, caller = scripted
    url = caller.url + "/v1/events"
    async with caller.session.get(url), caller.session.get(url):
        assert (await caller.ask("GET", "/v1/events")).status == 429


async def test_a_stopping_gateway_ends_its_streams(scripted: tuple[ScriptedLink, Caller]) -> None:
    link, caller = scripted
    async with caller.session.get(caller.url + "/v1/events") as events:
        await block(events)
        async with asyncio.timeout(5):
            await caller.gateway.stop()
            await events.content.read()
    assert link.open_streams == 0


async def test_the_state_comes_in_chunks_and_is_one_document(scripted: tuple[ScriptedLink, Caller]) -> None:
    link, caller = scripted
    header = admin_pb2.StateHeader(broker="b:1", broker_heartbeat=5, completed_total=6)
    link.frames.put_nowait(admin_pb2.GetStateResponse(header=header))
    for number in range(3):
        jobs = [job_pb2.JobInfo(id=f"{number}{index}", status="unclaimed", payload=b"1") for index in range(2)]
        link.frames.put_nowait(admin_pb2.GetStateResponse(jobs=jobs))
    link.frames.put_nowait(None)
    state = await caller.get("/state")
    assert [job["id"] for job in state["jobs"]] == ["00", "01", "10", "11", "20", "21"]
    assert (state["broker"], state["brokerHeartbeat"], state["completedTotal"]) == ("b:1", 5, 6)


async def test_half_a_state_is_not_taken_for_a_whole(scripted: tuple[ScriptedLink, Caller]) -> None:
    link, caller = scripted
    link.frames.put_nowait(admin_pb2.GetStateResponse(header=admin_pb2.StateHeader(broker="b:1")))
    link.frames.put_nowait(OsqueueError("gone", reason="STORAGE_UNAVAILABLE"))
    with pytest.raises(aiohttp.ClientError):
        await caller.ask("GET", "/state")
    assert caller.gateway.metrics.counted("states_cut_off") == 1


async def test_a_state_that_cannot_begin_is_an_error(scripted: tuple[ScriptedLink, Caller]) -> None:
    link, caller = scripted
    link.frames.put_nowait(OsqueueError("gone", reason="STORAGE_UNAVAILABLE"))
    asked = await caller.ask("GET", "/state")
    assert (asked.status, asked.json()["_tag"]) == (503, "StorageBackendError")
