"""A way to a broker that answers as a test says, for what a real broker does rarely or late."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from osqueue.errors import OsqueueError
from osqueue_protocol.rpcs import RPCS


class ScriptedLink:
    """Answers unary RPCs from `answers` by name: a message, an error, or a function of the request."""

    address = "scripted:1"

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Any]] = []
        self.frames: asyncio.Queue[Any] = asyncio.Queue()
        self.open_streams = 0
        self.streamed: list[Any] = []

    async def call(self, name: str, request: Any, timeout_ms: int) -> Any:
        self.asked.append((name, request))
        answer = self.answers.get(name, RPCS[name].response())
        if callable(answer):
            answer = answer(request)
        if asyncio.iscoroutine(answer):
            answer = await answer
        if isinstance(answer, OsqueueError):
            raise answer
        return answer

    async def stream(self, name: str, request: Any) -> AsyncIterator[Any]:
        """What is put into `frames`: messages, an error, or None for the end."""
        self.streamed.append(request)
        self.open_streams += 1
        try:
            while (frame := await self.frames.get()) is not None:
                if isinstance(frame, OsqueueError):
                    raise frame
                yield frame
        finally:
            self.open_streams -= 1

    async def close(self) -> None:
        pass


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until it holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)
