"""What callers do in `benchmarks.floods`: harmless things, and things meant to hurt.

Each is one call of one caller, and may end in any refusal. Every other dozen of callers has no token. The loads run in
a process of their own, so that what they cost themselves is not taken for the broker's.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import aiohttp
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2, queue_pb2_grpc

MIB = 1 << 20
CALLERS = 200
PAUSE_S = 0.2
"""Between two calls of one caller, so that both loads ask equally often."""
_LARGE = os.urandom(MIB)
_BOMB = b"\x0a\x00" * (2 * MIB)
"""A SubmitJobs request of two million empty jobs; compressed, a few KiB."""
_KEYS = json.dumps({f"key{n}": n for n in range(100_000)}).encode()
_JSON = {"Content-Type": "application/json"}
_HOLD_S = 2.0
"""How long what was sent in part is held before the caller goes."""


@dataclass(frozen=True)
class Target:
    """Where the broker and its gateway listen."""

    host: str
    grpc_port: int
    http_port: int
    token: str

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.http_port}"

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token}"),)

    def channel(self) -> grpc.aio.Channel:
        """A connection of its own."""
        return grpc.aio.insecure_channel(
            f"{self.host}:{self.grpc_port}",
            options=[("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)],
        )

    def shown(self, number: int) -> tuple[tuple[str, str], ...]:
        """The metadata of this caller: with the token or without."""
        return () if number // 12 % 2 else self.metadata

    def headers(self, number: int) -> dict[str, str]:
        """The same over HTTP."""
        return _JSON if number // 12 % 2 else {**_JSON, "Authorization": f"Bearer {self.token}"}


Action = Callable[[Target, aiohttp.ClientSession, grpc.aio.Channel, int], Awaitable[None]]


def _queue(channel: grpc.aio.Channel) -> queue_pb2_grpc.QueueServiceStub:
    return queue_pb2_grpc.QueueServiceStub(channel)


# --- harmless ------------------------------------------------------------------------------------------------------


async def small_submit(target: Target, session: aiohttp.ClientSession, channel: grpc.aio.Channel, number: int) -> None:
    request = queue_pb2.SubmitJobRequest(payload=b"{}", type="harmless", retention_ms=1)
    done = await _queue(channel).SubmitJob(request, metadata=target.metadata, timeout=5)
    await _queue(channel).CancelJob(queue_pb2.CancelJobRequest(job_id=done.job_id), metadata=target.metadata, timeout=5)


async def stats(target: Target, session: aiohttp.ClientSession, channel: grpc.aio.Channel, number: int) -> None:
    async with session.get("/v1/stats", headers=target.headers(0)) as answer:
        await answer.read()


async def connect_stats(target: Target, session: aiohttp.ClientSession, channel: grpc.aio.Channel, number: int) -> None:
    path = "/osqueue.v1.QueueService/GetStats"
    async with session.post(path, data=b"{}", headers=target.headers(0)) as answer:
        await answer.read()


async def socket_stats(target: Target, session: aiohttp.ClientSession, channel: grpc.aio.Channel, number: int) -> None:
    async with session.ws_connect("/v1/ws", headers=target.headers(0)) as socket:
        await socket.send_str('{"id":1,"method":"getStats"}')
        await socket.receive(5)


HARMLESS: list[Action] = [small_submit, stats, connect_stats, socket_stats]


# --- hostile, over gRPC --------------------------------------------------------------------------------------------


async def too_large(target: Target, session: aiohttp.ClientSession, channel: grpc.aio.Channel, number: int) -> None:
    request = queue_pb2.SubmitJobRequest(payload=_LARGE + b"x", type="large")
    await _queue(channel).SubmitJob(request, metadata=target.shown(number), timeout=5)


async def fill(target: Target, session: aiohttp.ClientSession, channel: grpc.aio.Channel, number: int) -> None:
    """Large jobs that nobody takes, until the queue is full."""
    request = queue_pb2.SubmitJobRequest(payload=_LARGE[: MIB // 2], type="large", retention_ms=60_000)
    await _queue(channel).SubmitJob(request, metadata=target.shown(number), timeout=5)


async def bomb(target: Target, session: aiohttp.ClientSession, channel: grpc.aio.Channel, number: int) -> None:
    call = channel.unary_unary("/osqueue.v1.QueueService/SubmitJobs")
    await call(_BOMB, metadata=target.shown(number), timeout=5, compression=grpc.Compression.Gzip)


async def half_a_message(
    target: Target, session: aiohttp.ClientSession, channel: grpc.aio.Channel, number: int
) -> None:
    """The frames of HTTP/2 by hand: a call, the beginning of its message, and then nothing."""
    async with connection(target.host, target.grpc_port) as (reader, writer):
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b""))
        writer.write(_frame(1, 4, 1, _head(target, number)))
        body = b"\0" + (4 * MIB).to_bytes(4, "big") + b"x" * 16_000
        writer.write(_frame(0, 0, 1, body))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HOLD_S):
                while await reader.read(65_536):
                    pass


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


def _head(target: Target, number: int) -> bytes:
    """HPACK without its tables: POST, http, and the rest in full."""
    fields = [("content-type", "application/grpc"), ("te", "trailers"), *target.shown(number)]
    path, host = b"/osqueue.v1.QueueService/SubmitJob", target.host.encode()
    head = b"\x83\x86\x04" + bytes((len(path),)) + path + b"\x01" + bytes((len(host),)) + host
    for name, value in fields:
        head += b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()
    return head


async def health_watches(
    target: Target, session: aiohttp.ClientSession, channel: grpc.aio.Channel, number: int
) -> None:
    watches = [health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()) for _ in range(20)]
    try:
        await asyncio.wait_for(watches[0].read(), 1)
    finally:
        for watch in watches:
            watch.cancel()


async def streams(target: Target, session: aiohttp.ClientSession, channel: grpc.aio.Channel, number: int) -> None:
    """Work streams with the largest introduction that is allowed, and watches that nobody reads."""
    types = [f"{'t' * 100}{n}" for n in range(128)]
    opened = queue_pb2.WorkOpen(worker_id=os.urandom(60).hex(), slots=10_000, types=types)
    calls = [_queue(channel).Work(metadata=target.shown(number)) for _ in range(5)]
    try:
        for call in calls:
            await call.write(queue_pb2.WorkRequest(open=opened))
            await asyncio.wait_for(call.read(), 1)
    finally:
        for call in calls:
            call.cancel()


async def long_errors(target: Target, session: aiohttp.ClientSession, channel: grpc.aio.Channel, number: int) -> None:
    """Jobs that fail again and again with as much as an error may say."""
    queue, shown = _queue(channel), target.shown(number)
    await queue.SubmitJob(queue_pb2.SubmitJobRequest(payload=b"1", type="bad", max_attempts=1_000), metadata=shown)
    claim = queue_pb2.ClaimJobsRequest(worker_id=os.urandom(60).hex(), types=["bad"], max_jobs=20)
    for job in (await queue.ClaimJobs(claim, metadata=shown, timeout=5)).jobs:
        error = job_pb2.JobError(type="E" * 256, message="x" * 8_000)
        request = queue_pb2.FailJobRequest(job_id=job.job_id, worker_id=claim.worker_id, lease_token=job.lease_token)
        request.error.CopyFrom(error)
        await queue.FailJob(request, metadata=shown, timeout=5)


# --- hostile, over HTTP --------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def connection(host: str, port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection, closed at the end without waiting for the other side."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def half_a_body(target: Target, session: aiohttp.ClientSession, channel: grpc.aio.Channel, number: int) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in target.headers(number).items())
    async with connection(target.host, target.http_port) as (reader, writer):
        writer.write(f"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: 6000000\r\n\r\n".encode())
        writer.write(_LARGE * 4)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reader.read(), _HOLD_S)


async def half_a_socket_message(
    target: Target, session: aiohttp.ClientSession, channel: grpc.aio.Channel, number: int
) -> None:
    handshake = (
        "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in target.headers(number).items())
    async with connection(target.host, target.http_port) as (reader, writer):
        writer.write((handshake + head + "\r\n").encode())
        writer.write(b"\x81\xff" + (4 * MIB).to_bytes(8, "big") + bytes(4) + _LARGE * 3)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reader.read(), _HOLD_S)


async def many_keys(target: Target, session: aiohttp.ClientSession, channel: grpc.aio.Channel, number: int) -> None:
    path = "/v1/jobs" if number // 24 % 2 else "/osqueue.v1.QueueService/SubmitJob"
    async with session.post(path, data=_KEYS, headers=target.headers(number)) as answer:
        await answer.read()


async def many_jobs(target: Target, session: aiohttp.ClientSession, channel: grpc.aio.Channel, number: int) -> None:
    body = b'{"jobs":[' + b"{}," * 500_000 + b"{}]}"
    async with session.post("/osqueue.v1.QueueService/SubmitJobs", data=body, headers=target.headers(number)) as answer:
        await answer.read()


async def unread_answers(
    target: Target, session: aiohttp.ClientSession, channel: grpc.aio.Channel, number: int
) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in target.headers(number).items())
    async with connection(target.host, target.http_port) as (_, writer):
        writer.write(f"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode() * 20)
        await asyncio.sleep(_HOLD_S)


HOSTILE: list[Action] = [
    too_large, half_a_body, bomb, half_a_message, many_keys, health_watches, half_a_socket_message, streams,
    many_jobs, fill, unread_answers, long_errors,
]  # fmt: skip

LOADS = {"harmless": HARMLESS, "hostile": HOSTILE, **{action.__name__: [action] for action in HOSTILE}}


async def callers(target: Target, actions: list[Action], seconds: float) -> int:
    """All the callers at once, for that time; how often they called."""
    ends = time.monotonic() + seconds
    async with contextlib.AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(limit=0)
        session = await stack.enter_async_context(aiohttp.ClientSession(target.url, connector=connector))
        channels = [await stack.enter_async_context(target.channel()) for _ in range(8)]
        calls = await asyncio.gather(
            *(_caller(target, session, channels[n % 8], n, actions[n % len(actions)], ends) for n in range(CALLERS))
        )
    return sum(calls)


async def _caller(
    target: Target, session: aiohttp.ClientSession, channel: grpc.aio.Channel, number: int, action: Action, ends: float
) -> int:
    """Does its one thing again and again; being refused, or cut off, is what it may expect."""
    calls = 0
    await asyncio.sleep(PAUSE_S * number / CALLERS)
    while time.monotonic() < ends:
        with contextlib.suppress(grpc.RpcError, aiohttp.ClientError, OSError, TimeoutError):
            async with asyncio.timeout(5):
                await action(target, session, channel, number)
        calls += 1
        await asyncio.sleep(PAUSE_S)
    return calls


def main() -> None:
    load, seconds, host, grpc_port, http_port, token = sys.argv[1:]
    target = Target(host, int(grpc_port), int(http_port), token)
    print(asyncio.run(callers(target, LOADS[load], float(seconds))))


if __name__ == "__main__":
    main()
