"""The osqueue broker: a job queue held in memory and kept in a bucket."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from osqueue_service.broker_server import BrokerServer as BrokerServer

__all__ = ["BrokerServer"]


def __getattr__(name: str) -> Any:
    """`BrokerServer` brings gRPC with it, which whoever imports only a part of this package need not load."""
    if name == "BrokerServer":
        from osqueue_service.broker_server import BrokerServer

        return BrokerServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
