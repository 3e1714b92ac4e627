"""The places that a replay passed: what a state that was built along the log may be compared with a checkpoint by."""

from osqueue_service.log.position import Position
from osqueue_service.log.root import CheckpointRef

PASSED_MAX = 16_384
"""Places remembered, 300 bytes each. A leader writes a checkpoint after half as many, however small the log is."""


class PassedPlaces:
    """The way from a checkpoint along the log. `end` is where it has come to, `end_key` the object that lies there."""

    def __init__(self, checkpoint: CheckpointRef, start: Position) -> None:
        self.end = start
        self.end_key: str | None = None
        """None while nothing was passed."""
        self._checkpoint = checkpoint
        self._start = start
        self._places: dict[int, Position] = {}

    def add(self, key: str, position: Position) -> None:
        """The replay accepted the object at `key`; it is the last one of `position`."""
        self.end, self.end_key = position, key
        self._places[position.sequence] = position
        if len(self._places) > PASSED_MAX:
            del self._places[next(iter(self._places))]

    def at(self, checkpoint: CheckpointRef) -> Position | None:
        """The place of `checkpoint`, if it is on this way: the way had come there by the very object it names."""
        if checkpoint.sequence == self._start.sequence:
            return self._start if checkpoint == self._checkpoint else None
        place = self._places.get(checkpoint.sequence)
        if place is None or place.lane != checkpoint.epoch or place.hash.hex() != checkpoint.hash:
            return None
        return place

    def begin_at(self, checkpoint: CheckpointRef) -> None:
        """Forget the way before `checkpoint`, which is on it."""
        start = self.at(checkpoint)
        assert start is not None, "a checkpoint beside the way"
        self._checkpoint, self._start = checkpoint, start
        self._places = {sequence: place for sequence, place in self._places.items() if sequence > start.sequence}
