"""Processes that a command starts and must not leave behind: a demo's broker and workers.

A child is in a session of its own, so that Ctrl-C reaches only the command, which then ends its
children in order. Should the command itself be killed, the child sees its standard input end,
and ends too (child.py).
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure

if TYPE_CHECKING:
    from osqueue.stats import Stats

GRACE_S = 5.0
"""How long a child may take to end in order before it is killed."""

KNOCK_EVERY_S = 0.02
LINE_BYTES_MAX = 1 << 20
LOG_TAIL_LINES = 12


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on at the moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


class Child:
    """One running process of ours; what it says on standard error goes to its log."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self.ending = False
        """Whether we have told it to end."""
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    async def lines(self) -> AsyncIterator[bytes]:
        """What it says on standard output, line by line, to the end of the process."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            yield line

    async def exited(self) -> int:
        """Its exit code, once it has ended; minus the signal that ended it."""
        return await self._process.wait()

    async def kill(self) -> None:
        """kill -9, and wait until the process is gone."""
        self._signal(signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end (SIGTERM); kill it when it takes too long."""
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(GRACE_S):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    def log_tail(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def _signal(self, number: signal.Signals) -> None:
        self.ending = True
        with contextlib.suppress(ProcessLookupError):  # it is gone already, which is what was wanted
            self._process.send_signal(number)


class Children:
    """The processes of one command. Leaving the context ends them all."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: list[Child] = []

    async def __aenter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # When something went wrong, or somebody is impatient, nobody waits for orderly ends.
        ends = [child.stop() if error is None else child.kill() for child in self._children if child.is_running]
        # Shielded: a second Ctrl-C must not leave half of them behind.
        await asyncio.shield(asyncio.gather(*ends))

    async def start(self, name: str, module: str, *arguments: str, variables: Mapping[str, str] | None = None) -> Child:
        """Run `python -m MODULE ARGUMENTS...`, with these environment variables besides our own; logs to `name`.log."""
        log = self._logs / f"{name}.log"
        with log.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=file,
                env={**os.environ, **(variables or {})},
                start_new_session=True,
                limit=LINE_BYTES_MAX,
            )  # fmt: skip
        child = Child(name, process, log)
        self._children.append(child)
        return child


async def start_broker(children: Children, directory: Path, port: int) -> Child:
    """A broker of our own on a directory and a port of the loopback, whatever the environment says of other brokers.

    Only the token of the environment holds, because clients take it from there too.
    """
    from osqueue_service.config import LIMIT_PREFIX, known_settings

    names = list(known_settings())
    names += [name for name in os.environ if name.startswith(LIMIT_PREFIX)]
    return await children.start(
        "broker", "osqueue_cli.child", "broker",
        "--storage-backend", "file", "--data-dir", str(directory), "--host", "127.0.0.1", "--grpc-port", str(port),
        variables={name: "" for name in names if name != "OSQUEUE_TOKEN"},
    )  # fmt: skip


def ended_early(child: Child, exit_code: int) -> Failure:
    """A child has ended that should not have: say what it said last."""
    tail = child.log_tail()
    return Failure(
        f"the {child.name} ended with exit code {exit_code}; its log says:\n{tail or '(nothing)'}", Exit.INTERNAL
    )


async def listening(child: Child, host: str, port: int, limit_s: float) -> None:
    """Return once the child listens there; a `Failure` when it ends instead, or takes longer than the limit."""
    try:
        async with asyncio.timeout(limit_s):
            while not await _listens(host, port):
                if not child.is_running:
                    raise ended_early(child, await child.exited())
                await asyncio.sleep(KNOCK_EVERY_S)
    except TimeoutError:
        raise _late(child, limit_s) from None


async def serving(broker_url: str, broker: Child, limit_s: float) -> "Stats":
    """The broker's first answer; a `Failure` when it ends instead, or takes longer than the limit."""
    from osqueue import OsqueueClient, OsqueueError

    host, _, port = broker_url.partition("://")[2].rpartition(":")
    # Knocking comes first: a channel that was refused waits before it tries again.
    await listening(broker, host, int(port), limit_s)
    try:
        async with (
            asyncio.timeout(limit_s),
            OsqueueClient(broker_url, timeout_ms=1_000, retry_delay_ms=round(KNOCK_EVERY_S * 1_000)) as client,
        ):
            return await client.get_stats()
    except TimeoutError:
        raise _late(broker, limit_s) from None
    except OsqueueError as error:
        raise Failure(f"the {broker.name} does not serve: {error}\n{broker.log_tail()}", Exit.INTERNAL) from error


def _late(child: Child, limit_s: float) -> Failure:
    return Failure(
        f"the {child.name} does not answer within {limit_s:.0f} s; its log says:\n{child.log_tail()}", Exit.INTERNAL
    )


async def _listens(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:  # nobody listens yet
        return False
    writer.close()
    return True
