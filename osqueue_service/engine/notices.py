"""Telling workers what happened to leases they hold without their doing."""

from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from osqueue_service.state.model import Ending
from osqueue_service.state.records import AnyRecord, AttemptsEnded, CancelRequested, Purged


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
        """Tell the holder of this job's lease; a holder before it is told no more."""
        self._listeners[number] = listener

    def leave(self, number: int, listener: Listener) -> None:
        """The holder settled the job, or went away. Does nothing once another listens."""
        if self._listeners.get(number) is listener:
            del self._listeners[number]

    def raised_by(self, records: Iterable[AnyRecord]) -> list[Notice]:
        """The notices in these records, of those that somebody wants to hear."""
        if not self._listeners:
            return []
        return [notice for record in records for notice in _notices(record) if notice.number in self._listeners]

    def tell(self, notices: Iterable[Notice]) -> None:
        """These are durable."""
        for notice in notices:
            listener = self._listeners.get(notice.number)
            if listener is not None:
                if notice.lost:
                    del self._listeners[notice.number]
                listener(notice)


def _notices(record: AnyRecord) -> Iterator[Notice]:
    if isinstance(record, AttemptsEnded):
        # Failures and releases are the holder's own doing, and it has their answer.
        for end in record.items:
            if end.ending in (Ending.EXPIRED, Ending.TIMED_OUT):
                yield Notice(end.number, True)
    elif isinstance(record, CancelRequested):
        for number in record.numbers:
            yield Notice(number, False)
    elif isinstance(record, Purged):
        for number in record.numbers:
            yield Notice(number, True)
