"""A network between a broker and its bucket that can be told to fail.

Each broker has a proxy of its own. Whatever the proxy passes on, it shows to the witness; so a run
knows what the bucket was ever told, also where the broker never heard the answer.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

from tests.chaos.http_messages import Gone, Message, error_answer, read_answer, read_request
from tests.servers import LOOPBACK

STREAM_BYTES = 64 * 1024


class Fate(Enum):
    """What becomes of one request."""

    PASS = auto()
    RESET_BEFORE = auto()
    """The connection breaks, and the request never arrives."""
    ANSWER_LOST = auto()
    """The request is applied, and the connection breaks before the answer."""
    LAND_LATE = auto()
    """The connection breaks; the request arrives much later, when nobody waits for it any more."""
    STATUS_BEFORE = auto()
    """503 SlowDown, and the request is not applied."""
    STATUS_AFTER = auto()
    """500 InternalError, though the request was applied."""
    HELD = auto()
    """Nothing is heard until the partition heals; then it arrives, as TCP sends again what was not acknowledged."""


@dataclass(frozen=True)
class Verdict:
    """One request's fate, after a delay."""

    fate: Fate = Fate.PASS
    delay_s: float = 0.0


Plan = Callable[[Message], Verdict]

PASS = Verdict()


def calm(request: Message) -> Verdict:
    """Nothing goes wrong."""
    return PASS


def stormy(rng: random.Random, rates: Mapping[Fate, float], *, delay_rate: float, delay_s_max: float) -> Plan:
    """Fates drawn at these rates, and delays up to `delay_s_max`."""

    def draw(request: Message) -> Verdict:
        delay_s = rng.uniform(0, delay_s_max) if rng.random() < delay_rate else 0.0
        left = rng.random()
        for fate, rate in rates.items():
            left -= rate
            if left < 0:
                return Verdict(fate, delay_s)
        return Verdict(Fate.PASS, delay_s)

    return draw


class Proxy:
    """Listens on a port of its own and passes requests on to the server at `upstream`.

    `applied` is called with every request that the server answered, and the answer's status. Set `plan` to change the
    fates of requests from now on.
    """

    def __init__(self, upstream: int, applied: Callable[[Message, int], None]) -> None:
        self.plan: Plan = calm
        self.met: Counter[Fate] = Counter()
        self.port = 0
        self._upstream = upstream
        self._applied = applied
        self._server: asyncio.Server
        self._connections: set[asyncio.Task[None]] = set()
        self._late: list[Message] = []
        self._healed = asyncio.Event()
        self._healed.set()

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def late(self) -> int:
        """Requests that are still on their way."""
        return len(self._late)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0, limit=STREAM_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def partition(self) -> None:
        """Nothing passes any more, in either direction; connections stay open."""
        self._healed.clear()

    def heal(self) -> None:
        """What was held arrives, and everything passes again."""
        self._healed.set()

    async def land(self) -> list[tuple[Message, int]]:
        """Deliver the late requests now, in the order in which they were sent; what the server answered to each."""
        late, self._late = self._late, []
        answers = []
        for request in late:
            reader, writer = await asyncio.open_connection(LOOPBACK, self._upstream)
            try:
                answers.append((request, (await self._forward(request, reader, writer)).status))
            finally:
                writer.close()
        return answers

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        upstream: asyncio.StreamWriter | None = None
        try:
            from_server, upstream = await asyncio.open_connection(LOOPBACK, self._upstream)
            while await self._pass_one(reader, writer, from_server, upstream):
                pass
        except (Gone, ConnectionError, asyncio.CancelledError):
            # One side hung up, or the test is over: this connection is done with.
            pass
        finally:
            self._connections.discard(task)
            for side in (writer, upstream):
                if side is not None:
                    side.close()

    async def _pass_one(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        from_server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> bool:
        """One request and its answer; whether the connection is still good."""
        request = await read_request(reader, writer)
        verdict = self.plan(request)
        if not self._healed.is_set():
            self.met[Fate.HELD] += 1
            await self._healed.wait()
        if verdict.delay_s:
            await asyncio.sleep(verdict.delay_s)
        fate = verdict.fate
        self.met[fate] += 1
        if fate is Fate.LAND_LATE:
            self._late.append(request)
        if fate in (Fate.RESET_BEFORE, Fate.LAND_LATE):
            _reset(writer)
            return False
        if fate is Fate.STATUS_BEFORE:
            writer.write(error_answer(503, "SlowDown"))
            return True
        answer = await self._forward(request, from_server, to_server)
        if not self._healed.is_set():
            await self._healed.wait()
        if fate is Fate.ANSWER_LOST:
            _reset(writer)
            return False
        writer.write(error_answer(500, "InternalError") if fate is Fate.STATUS_AFTER else answer.encode())
        await writer.drain()
        return True

    async def _forward(self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Message:
        writer.write(request.encode())
        await writer.drain()
        answer = await read_answer(reader, request)
        self._applied(request, answer.status)
        return answer


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        writer.transport.abort()
