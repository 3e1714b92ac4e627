"""A broker and a gateway composed in one process: gRPC, and REST, WebSocket and Connect beside it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from osqueue_server.broker_server import BrokerServer as BrokerServer

__all__ = ["BrokerServer"]


def __getattr__(name: str) -> Any:
    """`BrokerServer` brings gRPC and aiohttp with it, which whoever imports only a part of this need not load."""
    if name == "BrokerServer":
        from osqueue_server.broker_server import BrokerServer

        return BrokerServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
