"""Telling workers what happened to leases they hold without their doing."""

from collections.abc import Callable, Iterable

from msgspec import Struct

from osqueue_service.state.model import IN_PROGRESS
from osqueue_service.state.moves import Moves, holders_doing


class Notice(Struct, frozen=True, gc=False):
    """`lost`: the lease is over. Otherwise cancellation was asked for."""

    number: int
    lost: bool


Listener = Callable[[Notice], None]


class LeaseNotices:
    """Who wants to hear of which leased job. One listener a job: a lease has one holder."""

    def __init__(self) -> None:
        self.listeners: dict[int, Listener] = {}
        """By the number of the job."""

    def listen(self, number: int, listener: Listener) -> None:
        """Tell the holder of this job's lease; an earlier holder hears nothing further."""
        self.listeners[number] = listener

    def leave(self, number: int, listener: Listener) -> None:
        """The holder settled the job, or went away. Does nothing once another listens."""
        if self.listeners.get(number) is listener:
            del self.listeners[number]

    def raised_by(self, moves: Iterable[Moves]) -> list[Notice]:
        """The notices in these moves, of those that somebody wants to hear: holders need not be told what
        they did themselves."""
        return [
            Notice(job.number, move.frees)
            for move in moves
            if move.source is IN_PROGRESS and not holders_doing(move.cause)
            for job in move.jobs
            if job.number in self.listeners
        ]

    def tell(self, notices: Iterable[Notice]) -> None:
        """These are durable."""
        for notice in notices:
            listener = self.listeners.get(notice.number)
            if listener is not None:
                if notice.lost:
                    del self.listeners[notice.number]
                listener(notice)
