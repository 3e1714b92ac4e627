"""Rebuilding the state from a checkpoint and the log behind it."""

from collections.abc import Sequence

from osqueue_service.engine.codec import Unreadable, replay
from osqueue_service.errors import CorruptObject
from osqueue_service.limits import Limits
from osqueue_service.state import image
from osqueue_service.state.adoption import NotAdoptable, adopt
from osqueue_service.state.apply import BrokenRecord
from osqueue_service.state.state import State

_WAY_OUT = "run `osqueue verify`, and restore the object from a copy or an earlier version"


class Rebuild:
    """One recovery's state; depends on nothing but the calls."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.state = State(history_limit=limits.history_attempts)

    def begin(self) -> None:
        """Forget everything: the state of a new, empty queue."""
        self.state.take_apart()
        self.state = State(history_limit=self._limits.history_attempts)

    def load(self, chunk: bytes) -> None:
        """The next chunk of a checkpoint's image."""
        try:
            image.load(self.state, [chunk])
        except image.UnknownFormat as error:
            raise CorruptObject("checkpoint", str(error)) from error
        except ValueError as error:
            problem = f"the image cannot be read, perhaps a later release wrote it: {error}"
            raise CorruptObject("checkpoint", f"{problem}; {_WAY_OUT}") from error

    def load_seed(self, jobs: Sequence[bytes], completed_total: int) -> None:
        """Adopt the jobs that an earlier osqueue left in `queue.json`."""
        try:
            adopt(self.state, jobs, completed_total, self._limits.default_lease_ms)
        except NotAdoptable as error:
            raise CorruptObject("queue.json", f"{error}: correct the field, or move the file away") from error

    def apply(self, sequence: int, records: bytes) -> None:
        """The records of one commit."""
        try:
            replay(self.state, records)
        except (Unreadable, BrokenRecord) as error:
            raise CorruptObject(f"commit {sequence}", f"{error}: {_WAY_OUT}") from error
