"""The log replayed from its beginning, along fences: what every recovery must arrive at."""

from collections.abc import Callable

from osqueue_service.engine.codec import replay
from osqueue_service.log.paths import segment_key
from osqueue_service.log.segment import Fence, decode
from osqueue_service.state.state import State
from tests.simulation.store import Bucket


class Shadow:
    """Follows the bucket's archive, which remembers what was cleaned up."""

    def __init__(self, bucket: Bucket, begin: Callable[[], State]) -> None:
        self.fences = 0
        self._bucket = bucket
        self._begin = begin
        self._state: State | None = None
        self._lane = 0
        self._sequence = 1
        self._passed: set[int] = set()

    def at(self, epoch: int) -> State | None:
        """The state at the fence of this epoch; None when the log has no such fence.

        Mostly that is the newest one. A broker that was frozen on the threshold of its term may ask for an older one.
        """
        if epoch in self._passed:
            return Shadow(self._bucket, self._begin).at(epoch)
        if self._state is None:
            self._state = self._begin()  # what was inherited is known only now
        while self._lane != epoch:
            key = segment_key(self._lane, self._sequence)
            landed = self._bucket.archive.get(key)
            if landed is None:
                return None
            entry = decode(key, landed.body).entry
            self._sequence += 1
            if isinstance(entry, Fence):
                self._passed.add(self._lane)
                self._lane = entry.epoch
                self.fences += 1
            else:
                replay(self._state, entry.records)
        return self._state
