"""Processes that a run starts, watches, pauses and kills."""

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.chaos.bell import Bell
from tests.servers import LOOPBACK

START_LIMIT_S = 40.0
END_LIMIT_S = 15.0

_LEADING = re.compile(r"leading epoch (\d+) after commit (\d+)")

ENVIRONMENT = ("PATH", "HOME", "LANG", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "SYSTEMROOT")


class Process:
    """`python -m MODULE`, whose log lines on stderr are read as they come. It may be started again after its end."""

    def __init__(
        self,
        name: str,
        module: str,
        variables: Mapping[str, str],
        logs: Path,
        bell: Bell,
        arguments: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.lines: list[str] = []
        """What it said in all its lives."""
        self.killed_s = 0.0
        """When it was last signalled (monotonic)."""
        self._command = (sys.executable, "-m", module, *arguments)
        self._variables = variables
        self._log = logs / f"{name}.log"
        self.bell = bell
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._life = 0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.returncode

    async def start(self) -> None:
        assert not self.running, f"{self.name} runs already"
        self._life = len(self.lines)
        own = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env={**own, **self._variables},
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        self._reading = asyncio.get_running_loop().create_task(self._read(self._process))

    def said(self, pattern: str) -> bool:
        """Whether a line of its present life matches."""
        return any(re.search(pattern, line) for line in self.lines[self._life :])

    async def until_said(self, pattern: str, limit_s: float = START_LIMIT_S) -> None:
        await self.bell.until(lambda: self._alive_or_failed() and self.said(pattern), f"{self.name} {pattern}", limit_s)

    async def kill(self) -> None:
        """kill -9, and wait for the end."""
        await self.signal(signal.SIGKILL)
        await self.ended()

    async def signal(self, number: signal.Signals) -> None:
        assert self._process is not None and self.running, f"{self.name} does not run"
        self.killed_s = time.monotonic()
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Its exit status, once it and its output have ended."""
        assert self._process is not None and self._reading is not None
        async with asyncio.timeout(END_LIMIT_S):
            await self._process.wait()
            await self._reading
        self.bell.ring()
        code = self._process.returncode
        assert code is not None
        return code

    async def close(self) -> None:
        """Whatever state it is in, it is gone afterwards."""
        if self._process is not None and self.running:
            self._process.kill()
            await self.ended()

    def _alive_or_failed(self) -> bool:
        if not self.running:
            raise AssertionError(f"{self.name} ended with status {self.exit_code}:\n" + "\n".join(self.lines[-30:]))
        return True

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        with self._log.open("ab") as file:
            while line := await process.stderr.readline():
                file.write(line)
                self.lines.append(line.decode(errors="replace").rstrip())
                self.bell.ring()
        self.bell.ring()


class BrokerProcess(Process):
    """One broker."""

    def __init__(self, name: str, grpc_port: int, variables: Mapping[str, str], logs: Path, bell: Bell) -> None:
        own = {
            "BROKER_HOST": LOOPBACK,
            "BROKER_GRPC_PORT": str(grpc_port),
            "LOG_FORMAT": "json",
        }
        super().__init__(name, "osqueue_service", {**own, **variables}, logs, bell)
        self.address = variables.get("BROKER_ADVERTISE_ADDRESS") or f"{LOOPBACK}:{grpc_port}"
        """Where clients dial it."""

    async def until_listening(self) -> None:
        await self.until_said("listening on ")

    def led(self) -> list[int]:
        """The epochs that it led, in all its lives."""
        return [int(found[1]) for line in self.lines if (found := _LEADING.search(line))]

    def leads(self) -> bool:
        """Whether the last it said of leadership is that it has it."""
        for line in reversed(self.lines[self._life :]):
            if _LEADING.search(line):
                return self.running
            if "leadership ended" in line:
                return False
        return False

    def messages(self) -> list[str]:
        """What it logged as warning or worse, without the frame."""
        found = []
        for line in self.lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if event["level"] not in ("debug", "info"):
                found.append(event["message"])
        return found
