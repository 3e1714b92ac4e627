"""A long text written piece by piece, so that nobody else in the process waits for it."""

from collections.abc import Awaitable, Callable, Iterable

TURN_S = 0.001
"""How long writing goes on before others have their turn."""


async def written(
    pieces: Iterable[str], now_s: Callable[[], float], pause: Callable[[], Awaitable[None]]
) -> list[bytes]:
    """The pieces as one text, in parts that are each quickly sent. `pause` lets the others go first; `now_s` says when
    it is time to."""
    parts: list[bytes] = []
    part: list[str] = []
    until = now_s() + TURN_S
    for piece in pieces:
        part.append(piece)
        if now_s() >= until:
            parts.append("".join(part).encode())
            part.clear()
            await pause()
            until = now_s() + TURN_S
    return [*parts, "".join(part).encode()]
