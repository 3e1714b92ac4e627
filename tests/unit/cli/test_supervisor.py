"""What a supervisor hears of a program: over a real socket, as systemd opens one."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from osqueue_cli.supervisor import Supervisor
from tests.servers import free_ports


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "notify"))
        one.settimeout(60)
        yield one


def environment(listening: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(listening.getsockname()), **more}


async def test_both_ends_are_told(listening: socket.socket) -> None:
    async with Supervisor(environment(listening)).told():
        assert listening.recv(100) == b"READY=1"
    assert listening.recv(100) == b"STOPPING=1"


async def test_that_the_loop_turns_is_told_within_half_the_patience(listening: socket.socket) -> None:
    listening.setblocking(False)
    loop = asyncio.get_running_loop()
    async with Supervisor(environment(listening, WATCHDOG_USEC="20000", WATCHDOG_PID=str(os.getpid()))).told():
        heard = [await loop.sock_recv(listening, 100) for _ in range(4)]
    assert heard == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"]


async def test_a_watchdog_of_another_process_is_not_ours(listening: socket.socket) -> None:
    async with Supervisor(environment(listening, WATCHDOG_USEC="1", WATCHDOG_PID="1")).told():
        await asyncio.sleep(0)
    assert [listening.recv(100), listening.recv(100)] == [b"READY=1", b"STOPPING=1"]


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "@nobody-listens"])
async def test_nobody_need_be_there(address: str) -> None:
    async with Supervisor({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"}).told():
        pass


async def test_an_abstract_socket() -> None:
    name = f"osqueue-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(f"\0{name}")
        one.settimeout(10)
        Supervisor({"NOTIFY_SOCKET": f"@{name}"}).tell("READY=1")
        assert one.recv(100) == b"READY=1"


@pytest.mark.parametrize("command", ["broker", "serve", "gateway"])
def test_each_program_says_when_it_serves_and_when_it_stops(
    command: str, listening: socket.socket, tmp_path: Path
) -> None:
    grpc, http = free_ports(2)
    settings = {
        "BROKER_HOST": "127.0.0.1",
        "BROKER_GRPC_PORT": str(grpc),
        "BROKER_PORT": str(http),
        "OSQUEUE_DATA_DIR": str(tmp_path / "data") if command == "serve" else "",
        "PATH": os.environ["PATH"],
    }
    program = [sys.executable, "-m", "osqueue_cli", command]
    with subprocess.Popen(program, env=environment(listening, **settings), stdout=subprocess.DEVNULL) as process:
        try:
            assert listening.recv(100) == b"READY=1"
            process.send_signal(signal.SIGTERM)
            assert listening.recv(100) == b"STOPPING=1"
            assert process.wait(60) == 0
        finally:
            process.kill()
