"""The gateway between its callers and a broker, each in a process of its own, on a memory store."""

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import aiohttp
import grpc.aio

from benchmarks.report import Report
from osqueue_stubs.osqueue.v1 import queue_pb2, queue_pb2_grpc

_HOST = "127.0.0.1"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


GRPC_PORT, HTTP_PORT = _free_port(), _free_port()
_BODY = b'{"payload": {"to": "ada@example.com", "subject": "hello", "n": 12345}, "type": "email"}'
_REQUEST = (
    b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    % (HTTP_PORT, len(_BODY))
) + _BODY
_CALL = b'{"id":1,"method":"submitJob","params":' + _BODY + b"}"
_FRAME = bytes((0x81, 0x80 | 126)) + len(_CALL).to_bytes(2, "big") + bytes(4) + _CALL
"""One text frame from a client, masked with zeros."""
_SECONDS = 4.0
_LONE_CALLS = 300
_IDLE_SOCKETS = 1_000
_PIPELINE = 256


def run(report: Report) -> None:
    report.title("Gateway (memory store; broker, gateway and callers in three processes)")
    with _process("osqueue_service", STORAGE_BACKEND="memory"), _process("osqueue_gateway") as gateway:
        asyncio.run(_measure(report, gateway))


@contextmanager
def _process(module: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "BROKER_HOST": _HOST,
        "BROKER_PORT": str(HTTP_PORT),
        "BROKER_GRPC_PORT": str(GRPC_PORT),
        "BROKER_GRPC_ADDRESSES": f"{_HOST}:{GRPC_PORT}",
        "LOG_LEVEL": "WARNING",
        **settings,
    }
    process = subprocess.Popen([sys.executable, "-m", module], env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


async def _measure(report: Report, gateway: "subprocess.Popen[bytes]") -> None:
    await _until_ready()
    await _lone(report)
    grpc_rate = await _grpc_rate(32)
    report.figure("gRPC SubmitJob, 32 callers, one RPC each", grpc_rate, "jobs/s")
    for connections, wanted in ((32, 5_000), (256, 8_000)):
        before = _cpu_s(gateway.pid)
        rate = await _rest_rate(connections)
        cpu = (_cpu_s(gateway.pid) - before) / (rate * _SECONDS)
        report.figure(f"REST submit, {connections} keep-alive connections", rate, "jobs/s", at_least=wanted)
        report.figure(f"  against gRPC with one RPC each, {connections} / 32 callers", rate / grpc_rate, "x")
        report.figure("  CPU of the gateway per submit", cpu * 1e6, "us")
    before = _cpu_s(gateway.pid)
    rate = await _socket_rate()
    cpu = (_cpu_s(gateway.pid) - before) / (rate * _SECONDS)
    report.figure(f"WebSocket submit, one socket, {_PIPELINE} calls ahead", rate, "jobs/s", at_least=12_000)
    report.figure("  CPU of the gateway per submit", cpu * 1e6, "us")
    await _idle_sockets(report, gateway.pid)


async def _until_ready() -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(200):
            try:
                async with session.get(f"http://{_HOST}:{HTTP_PORT}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)
    raise RuntimeError("the gateway did not become ready")


async def _lone(report: Report) -> None:
    """One caller at a time, the two transports in turn, so that drift hits both."""
    caller = await _connect()
    async with grpc.aio.insecure_channel(f"{_HOST}:{GRPC_PORT}") as channel:
        stub = queue_pb2_grpc.QueueServiceStub(channel)
        request = queue_pb2.SubmitJobRequest(payload=b'{"n": 1}', type="email")
        over_grpc, over_rest = [], []
        for _ in range(_LONE_CALLS):
            over_grpc.append(await _timed(lambda: stub.SubmitJob(request)))
            over_rest.append(await _timed(caller.once))
    caller.close()
    grpc_ms, rest_ms = statistics.median(over_grpc) * 1e3, statistics.median(over_rest) * 1e3
    report.figure("lone submit over gRPC, p50", grpc_ms, "ms")
    report.figure("lone submit over REST, p50", rest_ms, "ms")
    report.figure("  REST above gRPC", rest_ms - grpc_ms, "ms", at_most=2.0)


async def _timed(call: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await call()
    return time.perf_counter() - began


async def _grpc_rate(callers: int) -> float:
    async with grpc.aio.insecure_channel(f"{_HOST}:{GRPC_PORT}") as channel:
        stub = queue_pb2_grpc.QueueServiceStub(channel)
        request = queue_pb2.SubmitJobRequest(payload=b'{"n": 1}', type="email")
        ends = time.perf_counter() + _SECONDS

        async def caller() -> int:
            done = 0
            while time.perf_counter() < ends:
                await stub.SubmitJob(request)
                done += 1
            return done

        return sum(await asyncio.gather(*(caller() for _ in range(callers)))) / _SECONDS


class _Caller(asyncio.Protocol):
    """Submits over one keep-alive connection, the next one as soon as the last is answered, at hardly any cost."""

    def __init__(self) -> None:
        self.answered = 0
        self.running = False
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[None] | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"}"):
            return
        if not self._received.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"not accepted: {self._received!r}")
        self._received = b""
        self.answered += 1
        if self._answer is not None:
            self._answer.set_result(None)
            self._answer = None
        elif self.running:
            self.submit()

    def submit(self) -> None:
        assert self._transport is not None
        self._transport.write(_REQUEST)

    async def once(self) -> None:
        self._answer = asyncio.get_running_loop().create_future()
        self.submit()
        await self._answer

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


async def _connect() -> _Caller:
    _, caller = await asyncio.get_running_loop().create_connection(_Caller, _HOST, HTTP_PORT)
    return caller


async def _rest_rate(connections: int) -> float:
    callers = [await _connect() for _ in range(connections)]
    for caller in callers:
        caller.running = True
        caller.submit()
    await asyncio.sleep(0.5)
    before = sum(caller.answered for caller in callers)
    began = time.perf_counter()
    await asyncio.sleep(_SECONDS)
    rate = (sum(caller.answered for caller in callers) - before) / (time.perf_counter() - began)
    for caller in callers:
        caller.running = False
        caller.close()
    return rate


class _Frames(asyncio.Protocol):
    """Submits over one WebSocket, a new call for each answer. Nearly no cost of its own."""

    def __init__(self) -> None:
        self.answered = 0
        self.running = True
        self._transport: asyncio.Transport | None = None
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(
            b"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n" % HTTP_PORT
        )

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if not self._open:
            if not data.startswith(b"HTTP/1.1 101"):
                raise RuntimeError(f"no WebSocket: {data!r}")
            self._open = True
            self._transport.write(_FRAME * _PIPELINE)
            return
        if b'"ok":false' in data:
            raise RuntimeError(f"not accepted: {data!r}")
        answers = data.count(b'"ok":true')
        self.answered += answers
        if self.running:
            self._transport.write(_FRAME * answers)

    def close(self) -> None:
        assert self._transport is not None
        self.running = False
        self._transport.close()


async def _socket_rate() -> float:
    _, frames = await asyncio.get_running_loop().create_connection(_Frames, _HOST, HTTP_PORT)
    await asyncio.sleep(0.5)
    before, began = frames.answered, time.perf_counter()
    await asyncio.sleep(_SECONDS)
    rate = (frames.answered - before) / (time.perf_counter() - began)
    frames.close()
    return rate


async def _idle_sockets(report: Report, pid: int) -> None:
    before = _rss_bytes(pid)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        sockets = [await session.ws_connect(f"http://{_HOST}:{HTTP_PORT}/v1/ws") for _ in range(_IDLE_SOCKETS)]
        grown = _rss_bytes(pid) - before
        for socket in sockets:
            await socket.close()
    per_socket = grown / _IDLE_SOCKETS / 1024
    report.figure(f"memory per idle WebSocket, {_IDLE_SOCKETS:,} open", per_socket, "KiB", at_most=64)


def _rss_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _cpu_s(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
