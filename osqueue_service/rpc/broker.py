"""What the servicers need of the broker they serve."""

from typing import Protocol

from osqueue_service.engine.engine import Engine
from osqueue_service.leadership import Addresses
from osqueue_service.limits import Limits
from osqueue_service.log import LogCounters, Root


class Broker(Protocol):
    """One broker; it leads or stands by."""

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

    async def step_down(self) -> None:
        """Hand over to a standby, and stand by."""
        ...
