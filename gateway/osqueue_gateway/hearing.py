"""Whether the peer of a connection has taken what it was sent, as far as TCP can tell.

A caller that gives up a long poll just when its job comes hangs up while the answer is on its way, and the job would be
leased to nobody until its lease is over. The kernel knows better: a peer that hung up with the answer unread resets
the connection, and one that hung up before the answer arrived leaves it unacknowledged.
"""

import asyncio
import fcntl
import select
import socket
import struct
import termios
from collections.abc import Callable

HEARD_S = 5.0
"""Whoever still has its connection that long after an answer has heard it."""
TURNS = 4
"""Of the event loop, in which what has arrived is read and whoever waits for it is told."""

_HUNG_UP = getattr(select, "POLLRDHUP", 0)


class Hearing:
    """What one connection was sent that leases jobs, until its peer has heard it.

    Call `about_to_send` before such an answer, and then `sent` with what is to be done if nobody hears it.
    """

    __slots__ = ("_clock", "_unheard")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._unheard: list[tuple[float, Callable[[], None]]] = []

    async def about_to_send(self, transport: asyncio.BaseTransport | None) -> None:
        """Let the event loop read what has come from the peer already: that may be its farewell."""
        for _ in range(TURNS):
            if transport is None or not _spoke(transport):
                return
            await asyncio.sleep(0)

    def sent(self, unheard: Callable[[], None]) -> None:
        """An answer leaves now; call `unheard` if its peer goes before it has it."""
        now = self._clock()
        self._unheard = [entry for entry in self._unheard if now - entry[0] <= HEARD_S]
        self._unheard.append((now, unheard))

    def spoken(self, transport: asyncio.BaseTransport | None) -> None:
        """The peer sent something. It has heard all that it had acknowledged by then."""
        if self._unheard and not _untaken_bytes(transport):
            self._unheard.clear()

    def hung_up(self, transport: asyncio.BaseTransport | None) -> None:
        """The peer has stopped sending. What it has not acknowledged by now came too late for it."""
        if self._unheard and _untaken_bytes(transport):
            self._tell()

    def lost(self, error: BaseException | None) -> None:
        """The connection is gone. A reset says that something was not read."""
        if self._unheard and isinstance(error, ConnectionError):
            self._tell()
        self._unheard.clear()

    def _tell(self) -> None:
        now = self._clock()
        unheard, self._unheard = self._unheard, []
        for sent_at, tell in unheard:
            if now - sent_at <= HEARD_S:
                tell()


def _spoke(transport: asyncio.BaseTransport) -> bool:
    """Whether something has arrived that was not read yet, if only the end."""
    peer = transport.get_extra_info("socket")
    if peer is None or peer.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(peer.fileno(), select.POLLIN | _HUNG_UP)
    return bool(poll.poll(0))


def _untaken_bytes(transport: asyncio.BaseTransport | None) -> int:
    """How much the peer's machine has not acknowledged, where the system tells (Linux)."""
    peer: socket.socket | None = None if transport is None else transport.get_extra_info("socket")
    if peer is None or peer.fileno() < 0:
        return 0
    try:
        (untaken,) = struct.unpack("i", fcntl.ioctl(peer.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))
    except OSError:  # not a socket of this kind
        return 0
    return int(untaken)
