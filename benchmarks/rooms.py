"""How many of our modules one REST submit enters, and how often it moves between them: `python -m benchmarks.rooms`.

A gateway and a broker in this process, on a store in memory. A module counts once, however often it is entered; a move
is a call of a function in another module than the caller's. Coming back is not counted, nor going on after an await.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from aiohttp import ClientSession

from osqueue_server import BrokerServer
from osqueue_service.clock import SystemClock
from osqueue_service.storage.memory import MemoryStore

_ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("osqueue_gateway", "osqueue", "osqueue_protocol", "osqueue_server", "osqueue_service")
_SUBMITS = 21
_SUSPENDS = CO_COROUTINE | CO_ASYNC_GENERATOR | CO_GENERATOR


class Walk:
    """The way of one call through our modules."""

    def __init__(self) -> None:
        self.moves: Counter[tuple[str, str]] = Counter()
        self._under_way: set[FrameType] = set()

    @property
    def rooms(self) -> set[str]:
        return {room for move in self.moves for room in move if room}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Follow everything that this thread does meanwhile."""
        sys.setprofile(self._look)
        try:
            yield
        finally:
            sys.setprofile(None)
            self._under_way.clear()

    def _look(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call":
            return
        code = frame.f_code
        if (room := _room(code)) is None:
            return
        if code.co_flags & _SUSPENDS:
            if frame in self._under_way:
                return  # it goes on
            self._under_way.add(frame)
        caller = _caller(frame.f_back)
        if caller != room:
            self.moves[caller, room] += 1


def _caller(frame: FrameType | None) -> str:
    """The nearest of our modules that waits for this frame; "" when something else called us."""
    while frame is not None:
        if (room := _room(frame.f_code)) is not None:
            return room
        frame = frame.f_back
    return ""


_rooms: dict[str, str | None] = {}


def _room(code: CodeType) -> str | None:
    """The module of ours that this code is in."""
    name = code.co_filename
    if name not in _rooms:
        path = Path(name)
        inside = path.relative_to(_ROOT) if path.is_relative_to(_ROOT) and ".venv" not in path.parts else None
        parts = inside.with_suffix("").parts if inside else ()
        parts = parts[1:] if parts[:1] == ("gateway",) and len(parts) > 1 else parts
        _rooms[name] = ".".join(parts) if parts[:1] and parts[0] in _PACKAGES else None
    return _rooms[name]


async def walks() -> list[Walk]:
    """One for each of several submits, one after the other, without the first."""
    found = []
    server = BrokerServer(MemoryStore(clock=SystemClock()), port=0, http_port=0)
    await server.start()
    try:
        async with ClientSession(f"http://{server.http_address}") as session:
            for _ in range(_SUBMITS):
                await asyncio.sleep(0.1)
                walk = Walk()
                with walk.watching():
                    async with session.post("/v1/jobs", json={"type": "email", "payload": 1}) as answer:
                        assert answer.ok, await answer.text()
                        await answer.read()
                found.append(walk)
    finally:
        await server.stop()
    return found[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", action="store_true", help="list every move, and how often it was made")
    arguments = parser.parse_args()
    # The middle one: beside a submit the broker renews its term now and then.
    walk = sorted(asyncio.run(walks()), key=lambda each: (sum(each.moves.values()), len(each.rooms)))[_SUBMITS // 2]
    if arguments.moves:
        for (source, target), count in sorted(walk.moves.items()):
            print(f"{count:4}  {source or '(outside)'} > {target}")
    print(f"{len(walk.rooms)} modules entered, {sum(walk.moves.values())} moves between them")


if __name__ == "__main__":
    main()
