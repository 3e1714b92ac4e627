"""The gRPC transport: to the broker itself, following its leader."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from osqueue.credentials import Credentials
from osqueue.transports.addresses import Endpoint
from osqueue.transports.grpc_link import BrokerLink, LeaderFinder
from osqueue.transports.queue_link import QueueLink
from osqueue.transports.wire import WireTransport


class GrpcTransport(WireTransport):
    """Speaks to whichever of the brokers leads, or to the one that `find_leader` finds."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint] = (),
        *,
        token: str | Credentials = "",
        find_leader: LeaderFinder | None = None,
    ) -> None:
        self._broker: BrokerLink | QueueLink = BrokerLink(endpoints, token=token, find_leader=find_leader)
        super().__init__("grpc", self._broker)

    def clone(self) -> "GrpcTransport":
        return self._over(self._broker.clone())

    def for_queue(self, queue: str, *, shared: bool) -> "GrpcTransport":
        return self._over(QueueLink(self._broker, queue, shared=shared))

    @staticmethod
    def _over(link: BrokerLink | QueueLink) -> "GrpcTransport":
        twin = GrpcTransport()
        twin._link = twin._broker = link
        return twin

    def work(self, frames: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """A Work stream: the broker's frames for these, until one of the two ends it."""
        return self._broker.stream("Work", frames)
