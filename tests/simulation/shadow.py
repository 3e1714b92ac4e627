"""The log replayed from its beginning, along fences: what every recovery must arrive at."""

from osqueue_service.engine.codec import replay
from osqueue_service.log.paths import segment_key
from osqueue_service.log.segment import Fence, decode
from osqueue_service.state.state import State
from tests.simulation.store import Bucket


class Shadow:
    """Follows the bucket's archive, which remembers what was cleaned up."""

    def __init__(self, bucket: Bucket, history_limit: int) -> None:
        self.state = State(history_limit=history_limit)
        self.fences = 0
        self._bucket = bucket
        self._history_limit = history_limit
        self._lane = 0
        self._sequence = 1
        self._passed: set[int] = set()

    def at(self, epoch: int) -> State | None:
        """The state at the fence of this epoch; None when the log has no such fence.

        Mostly that is the newest one. A broker that was frozen on the threshold of its term may ask for an older one.
        """
        if epoch in self._passed:
            return Shadow(self._bucket, self._history_limit).at(epoch)
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
                replay(self.state, entry.records)
        return self.state
