"""The operator's calls where something is in their way: another transport, an outage, a gateway that is none."""

import struct

import pytest
from aiohttp import web

from osqueue import QueueRoot, TransportConfigError, TransportConnectionError, TransportRequestError
from osqueue.admin_messages import StatePart, SteppedDown
from osqueue.job import Job, Position
from osqueue_stubs.osqueue.v1 import admin_pb2
from tests.unit.sdk.memory_transport import MemoryTransport
from tests.unit.sdk.test_http import rest, serving


async def test_a_transport_without_them_is_named(client):
    with pytest.raises(TransportConfigError, match="'memory' has no operator's calls"):
        await client.admin.root()
    await client.submit_job("t", 1)


class Operated(MemoryTransport):
    """Tells parts of a state; the rest of the operator's calls is not needed here."""

    def __init__(self, queue, parts=()):
        super().__init__(queue)
        self.parts = parts
        self.closed_streams = 0
        self.stepped = 0

    async def get_state(self):
        try:
            for part in self.parts:
                if isinstance(part, Exception):
                    raise part
                yield part
        finally:
            self.closed_streams += 1

    async def step_down(self, reason, *, timeout_ms):
        self.stepped += 1
        self.asked_ms = timeout_ms
        raise TransportConnectionError("the connection broke")

    pause_types = resume_types = purge = step_down


def operating(transport, **options):
    from osqueue import OsqueueClient

    return OsqueueClient(transport=transport, retry_delay_ms=0, **options)


ROOT = QueueRoot("b:8081", position=Position(3, 7))


async def test_the_root_takes_no_more_than_it_needs(queue):
    transport = Operated(queue, [StatePart([], ROOT), AssertionError("read on")])
    async with operating(transport) as client:
        assert await client.admin.root() == ROOT
        assert transport.closed_streams == 1


async def test_a_state_that_never_begins_is_an_outage(queue):
    async with operating(Operated(queue), retry_deadline_ms=0) as client:
        with pytest.raises(TransportConnectionError, match="ended the state before it began"):
            await client.admin.root()


async def test_a_state_that_breaks_off_is_an_error(queue):
    parts = [StatePart([Job("1", "unclaimed")], ROOT), TransportConnectionError("gone")]
    async with operating(Operated(queue, parts)) as client:
        seen = []
        with pytest.raises(TransportConnectionError, match="gone"):
            async for part in client.admin.state():
                seen.append(part)
        assert seen == [ROOT, Job("1", "unclaimed")]


async def test_nobody_steps_down_twice(queue):
    transport = Operated(queue)
    async with operating(transport) as client:
        with pytest.raises(TransportConnectionError):
            await client.admin.step_down()
    assert transport.stepped == 1
    assert transport.asked_ms >= 25_000
    assert SteppedDown().commit is None


# --- streams from a gateway -------------------------------------------------------------------------------------------


def enveloped(body, flags=0):
    return struct.pack(">BI", flags, len(body)) + body


PART = enveloped(admin_pb2.GetStateResponse(header=admin_pb2.StateHeader(format=2)).SerializeToString())


async def state_from(body, status=200):
    async def handler(request):
        return web.Response(status=status, body=body, content_type="application/connect+proto")

    async with serving(handler) as address, rest(address) as client:
        return [part async for part in client.admin.state()]


async def test_a_stream_is_read_to_its_end():
    assert [part.format for part in await state_from(PART + enveloped(b"{}", 2))] == [2]


@pytest.mark.parametrize("body", [b"", PART, PART + b"\0\0", PART + enveloped(b"{}", 2)[:-1]])
async def test_a_stream_that_is_cut_off_is_not_taken_for_the_whole(body):
    with pytest.raises(TransportConnectionError, match="broke off"):
        await state_from(body)


@pytest.mark.parametrize(
    "body", [enveloped(b"", 1), struct.pack(">BI", 0, 1 << 31), enveloped(b"\xff"), enveloped(b"?", 2)]
)
async def test_what_is_no_stream_is_told_so(body):
    with pytest.raises(TransportRequestError, match="not understood"):
        await state_from(body)


async def test_what_is_no_gateway_is_told_so():
    for status, body in ((404, b"<html>"), (404, b"{}"), (302, b"")):
        with pytest.raises(TransportRequestError, match="not by a gateway"):
            await state_from(body, status)


async def test_an_error_at_the_end_of_a_stream_is_raised():
    error = b'{"error": {"code": "unavailable", "message": "away"}}'
    with pytest.raises(Exception, match="away"):
        await state_from(PART + enveloped(error, 2))
