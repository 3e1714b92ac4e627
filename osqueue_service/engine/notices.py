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
        self._listeners: dict[int, Listener] = {}

    def listen(self, number: int, listener: Listener) -> None:
        """Tell the holder of this job's lease; an earlier holder hears nothing further."""
        self._listeners[number] = listener

    def leave(self, number: int, listener: Listener) -> None:
        """The holder settled the job, or went away. Does nothing once another listens."""
        if self._listeners.get(number) is listener:
            del self._listeners[number]

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def raised_by(self, moves: Iterable[Moves]) -> list[Notice]:
        """The notices in these moves, of those that somebody wants to hear: holders need not be told what
        they did themselves."""
        return [
            Notice(job.number, move.frees)
            for move in moves
            if move.source is IN_PROGRESS and not holders_doing(move.cause)
            for job in move.jobs
            if job.number in self._listeners
        ]

    def tell(self, notices: Iterable[Notice]) -> None:
        """These are durable."""
        for notice in notices:
            listener = self._listeners.get(notice.number)
            if listener is not None:
                if notice.lost:
                    del self._listeners[notice.number]
                listener(notice)
