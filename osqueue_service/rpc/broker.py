"""What the servicers need of the queue that they serve, and some of the broker that leads it."""

from typing import Protocol

from osqueue_service.engine.engine import Engine
from osqueue_service.leadership import Addresses, Standbys
from osqueue_service.limits import Limits
from osqueue_service.log import LogCounters, Root
from osqueue_service.queues import OpenQueues


class Broker(Protocol):
    """One queue at one broker; the broker leads it or stands by."""

    @property
    def engine(self) -> Engine:
        """The queue, while this broker leads. Raises `NotLeader`, naming the leader, while it does not."""
        ...

    @property
    def is_leader(self) -> bool: ...

    @property
    def addresses(self) -> Addresses: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def root(self) -> Root:
        """The root as last known to be this leader's. Raises `NotLeader` while it does not lead."""
        ...

    @property
    def counters(self) -> LogCounters: ...

    @property
    def leader_address(self) -> str:
        """Where the leader is, as far as this broker knows; "" when it does not."""
        ...


class Peer(Broker, Protocol):
    """A broker among others: its default queue, and what concerns the whole process."""

    @property
    def queues(self) -> OpenQueues:
        """The queues with names, which it leads while it leads the default queue."""
        ...

    @property
    def standbys(self) -> Standbys:
        """Those that attend this leader. Raises `NotLeader` while it does not lead."""
        ...

    @property
    def understood(self) -> frozenset[str]:
        """The features of the stored formats that this broker knows."""
        ...

    @property
    def followed(self) -> int:
        """Up to which commit this standby has followed the log; 0 when it has no state."""
        ...

    def look(self, *, yours: bool = False) -> None:
        """Standing by: there is news of the leader. `yours`: it has left the queue to this broker."""
        ...

    def heard(self, sequence: int) -> None:
        """Standing by: the leader is at `sequence`."""
        ...

    def hasten(self, sequence: int) -> None:
        """Standing by: the leader, which is at `sequence`, is about to leave."""
        ...

    async def step_down(self) -> None:
        """Hand over to a standby, and stand by."""
        ...
