"""Long polls given up just when their job comes: what nobody has heard of is given back."""

import asyncio
import json
import select
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.integration.gateway.gateways import HOST, Caller

CLAIM = b'{"workerId": "w", "types": ["t"], "waitMs": 20000}'
REST = (
    b"POST /v1/jobs/claim HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(CLAIM), CLAIM)
)
CONNECT = REST.replace(b"/v1/jobs/claim", b"/osqueue.v1.QueueService/ClaimJob")
UPGRADE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def frame(opcode: int, payload: bytes) -> bytes:
    """A client's frame of a WebSocket, masked with nothing."""
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + b"\0\0\0\0" + payload


CALL = frame(1, json.dumps({"id": 1, "method": "claimJob", "params": json.loads(CLAIM)}).encode())


@pytest.fixture(params=["rest", "connect", "ws"])
async def polling(request: pytest.FixtureRequest, caller: Caller) -> AsyncIterator[socket.socket]:
    """A bare socket over which a claim waits."""
    loop = asyncio.get_running_loop()
    with socket.create_connection((HOST, caller.gateway.port)) as peer:
        peer.setblocking(False)
        if request.param == "ws":
            await loop.sock_sendall(peer, UPGRADE)
            assert b"101" in await loop.sock_recv(peer, 4_096)
            await loop.sock_sendall(peer, CALL)
        else:
            await loop.sock_sendall(peer, REST if request.param == "rest" else CONNECT)
        await until(lambda: caller.gateway.calls.waiting == 1)
        yield peer


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


def is_readable(peer: socket.socket) -> bool:
    return bool(select.select([peer], [], [], 0)[0])


def connections(caller: Caller) -> int:
    return caller.gateway._server.open


async def status_of(caller: Caller, job_id: str) -> str:
    status: str = (await job_of(caller, job_id))["status"]
    return status


async def job_of(caller: Caller, job_id: str) -> Any:
    return (await caller.get(f"/v1/jobs/{job_id}"))["job"]


async def submit(caller: Caller) -> str:
    job_id: str = (await caller.post("/v1/jobs", b'{"type": "t", "payload": 1}'))["jobId"]
    return job_id


async def test_whoever_hangs_up_with_the_answer_unread_gives_its_job_back(
    caller: Caller, polling: socket.socket
) -> None:
    job_id = await submit(caller)
    await until(lambda: is_readable(polling))
    polling.close()
    async with asyncio.timeout(30):
        while await status_of(caller, job_id) != "unclaimed":
            pass
    assert (await job_of(caller, job_id))["attempts"] == 0


async def test_whoever_has_read_the_answer_keeps_its_job(caller: Caller, polling: socket.socket) -> None:
    job_id = await submit(caller)
    before = connections(caller)
    await until(lambda: is_readable(polling))
    await asyncio.get_running_loop().sock_recv(polling, 65_536)
    polling.close()
    await until(lambda: connections(caller) < before)
    await until(lambda: caller.gateway.calls.under_way == 0)
    assert await status_of(caller, job_id) == "in_progress"


async def test_whoever_said_farewell_before_its_answer_left_gives_its_job_back(
    caller: Caller, polling: socket.socket
) -> None:
    """Both are read in one turn of the loop: the claim's answer, and that nobody is there any more."""
    submitted = asyncio.ensure_future(submit(caller))
    await until(lambda: caller.gateway.calls.under_way == 1)
    polling.close()
    job_id = await submitted
    async with asyncio.timeout(30):
        while await status_of(caller, job_id) != "unclaimed":
            pass
