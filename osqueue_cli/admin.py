"""The operator's calls: AdminService over gRPC, and its answers as JSON."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from osqueue_cli.connection import Connection
from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure

if TYPE_CHECKING:
    from google.protobuf.message import Message

T = TypeVar("T")


class Admin:
    """AdminService of whichever broker leads, as patient as the connection says."""

    def __init__(self, connection: Connection) -> None:
        from osqueue.retrying import Retrying, RetryOptions
        from osqueue.transports.addresses import DEFAULT_URL, parse
        from osqueue.transports.grpc_link import BrokerLink

        endpoints = parse(connection.broker or DEFAULT_URL)
        if endpoints[0].kind != "grpc":
            raise Failure(f"this command speaks gRPC only: give a broker, not {connection.broker}", Exit.USAGE)
        token = os.environ.get("OSQUEUE_TOKEN", "") if connection.token is None else connection.token
        timeout_ms = max(1, round(connection.timeout_s * 1_000))
        self._timeout_ms = min(5_000, timeout_ms)
        self._link = BrokerLink(endpoints, token=token)
        self._retrying = Retrying(RetryOptions(timeout_ms=self._timeout_ms, retry_deadline_ms=timeout_ms))

    @property
    def address(self) -> str:
        """host:port of the broker that answered last."""
        return self._link.address

    async def call(self, name: str, request: "Message") -> Any:
        """The answer to the unary RPC `name`."""
        return await self._retrying.run(lambda: self._link.call(name, request, self._timeout_ms))

    async def once(self, name: str, request: "Message", timeout_ms: int) -> Any:
        """The answer to the unary RPC `name`, tried once: for what a second call would do again."""
        return await self._link.call(name, request, timeout_ms)

    async def close(self) -> None:
        """Disconnect."""
        await self._link.close()


def run(connection: Connection, work: "Callable[[Admin], Awaitable[T]]") -> T:
    """Do the work with an `Admin`, in an event loop of its own."""

    async def session() -> T:
        admin = Admin(connection)
        try:
            return await work(admin)
        finally:
            await admin.close()

    return asyncio.run(session())
