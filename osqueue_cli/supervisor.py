"""What a supervisor such as systemd is told: that a program serves, that it stops, and that its event loop still turns.

The protocol is sd_notify(3): datagrams to the socket that NOTIFY_SOCKET names. Without one, nobody is told anything.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

US_PER_S = 1_000_000


class Supervisor:
    """Who started this process and wants to hear of it, by the environment."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of an abstract socket.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        ours = environment.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        said = environment.get("WATCHDOG_USEC", "")
        self._patience_s = int(said) / US_PER_S if ours and said.isdecimal() else 0.0

    def tell(self, state: str) -> None:
        """Send one line of state. Whether it is heard changes nothing here."""
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as way:
            way.setblocking(False)
            way.sendto(state.encode(), self._address)

    @asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        """Within it the program serves: the supervisor is told at both ends, and in between twice in its patience."""
        self.tell("READY=1")
        turning = asyncio.ensure_future(self._turn()) if self._address and self._patience_s else None
        try:
            yield
        finally:
            self.tell("STOPPING=1")
            if turning is not None:
                turning.cancel()

    async def _turn(self) -> None:
        while True:
            self.tell("WATCHDOG=1")
            await asyncio.sleep(self._patience_s / 2)
