"""What the engine needs of one broker's time as leader."""

import asyncio
from collections.abc import AsyncIterable, Set
from typing import Protocol

from osqueue_service.log import Root


class Lane(Protocol):
    """The leader's own lane of the log: puts in flight, released in order."""

    @property
    def next_sequence(self) -> int: ...

    @property
    def room(self) -> bool:
        """Whether another commit may be put now."""
        ...

    @property
    def in_flight(self) -> int: ...

    @property
    def depth(self) -> int: ...

    @property
    def latency_ms(self) -> float:
        """How long a put takes, as a moving average; 0 when not known yet."""
        ...

    def append(self, records: bytes, count: int) -> "asyncio.Future[int]":
        """Put one commit. Resolves with its sequence once it and all before it are durable."""
        ...


class Term(Protocol):
    """One epoch of leadership."""

    @property
    def epoch(self) -> int: ...

    @property
    def appender(self) -> Lane: ...

    def is_live(self) -> bool:
        """Whether, by this broker's own clock, no other can have taken over yet."""
        ...

    def lease_left_ms(self) -> float:
        """For how long `is_live` holds without another renewal; 0 or less when it does not."""
        ...

    @property
    def lapses(self) -> int:
        """How often `is_live` was false for a while and holds again."""
        ...

    async def confirm(self) -> None:
        """Return once a read of the root that began after this call shows this term; raise NotLeader otherwise."""
        ...

    @property
    def root(self) -> Root:
        """The root as last known to be this term's."""
        ...

    def checkpoint_due(self) -> bool:
        """Whether the log since the last checkpoint outweighs the state."""
        ...

    async def publish_checkpoint(self, sequence: int, image: AsyncIterable[bytes], completed_total: int) -> None:
        """Make the state after `sequence`, the last commit appended when this is called, the recovery point."""
        ...

    async def switch_on(self, features: Set[str]) -> None:
        """Let the stored data use these features. Raises `FeatureUnavailable` while a broker that could take over does
        not understand one."""
        ...

    def end(self, reason: Exception) -> None:
        """End the term: nothing is acknowledged any more. Only the first reason counts."""
        ...
