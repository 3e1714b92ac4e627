"""What a leader's answers by memory hang on, and what ends its term: renewals of its own root, or another term."""

from typing import Protocol

from osqueue_service.log import Ending


class Lease(Protocol):
    """Until when no other broker can lead. `HeldRoot` has one of its own."""

    @property
    def lease_until_ms(self) -> float:
        """By the monotonic clock."""
        ...

    @property
    def lapses(self) -> int:
        """How often that moment passed before the next renewal was confirmed."""
        ...


class Tenure(Protocol):
    """For how long a root that was taken may be held. `Renewal` is one."""

    @property
    def lost(self) -> Ending:
        """Resolves with the reason when it may no longer be."""
        ...

    def stop(self) -> None:
        """It is given up."""
        ...


class LentLease:
    """The lease of one term, lent to another of the same broker.

    Whoever would take the borrower's queue over must first hold the lender's root. So the lender's lease covers both,
    and the borrower's root is never renewed: a queue costs no heartbeats. Whoever ends the lender's term ends `lost`.
    """

    def __init__(self, lender: Lease, member: str) -> None:
        """`member` is the lender's incarnation: the root of a queue says under which life of a broker it is led."""
        self.lost = Ending()
        self.member = member
        self._lender = lender

    @property
    def lease_until_ms(self) -> float:
        return self._lender.lease_until_ms

    @property
    def lapses(self) -> int:
        return self._lender.lapses

    def stop(self) -> None:
        """Nothing: the lender goes on."""
