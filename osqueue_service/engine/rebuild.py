"""Rebuilding the state from a checkpoint and the log behind it."""

from collections.abc import Sequence, Set

from osqueue_service.engine.codec import replay
from osqueue_service.errors import CorruptObject, WrittenByNewer
from osqueue_service.state.adoption import NotAdoptable, adopt
from osqueue_service.state.consistency import BrokenRecord
from osqueue_service.state.features import UNDERSTOOD
from osqueue_service.state.image import Loader
from osqueue_service.state.state import State
from osqueue_service.state.stored import Newer, Unreadable

_WAY_OUT = "run `osqueue verify`, and restore the object from a copy or an earlier version"


class Rebuild:
    """One recovery's state; depends on nothing but the calls."""

    def __init__(self, understood: Set[str] = UNDERSTOOD, queue: str = "") -> None:
        """`understood` are the features that the records may use, `queue` is the name of a named queue."""
        self.understood = understood
        self._queue = queue
        self.state = State(queue)
        self._loader = Loader(self.state)

    def begin(self) -> None:
        """Forget everything: the state of a new, empty queue."""
        self.state.take_apart()
        self.state = State(self._queue)
        self._loader = Loader(self.state)

    def load(self, chunk: bytes) -> None:
        """The next chunk of a checkpoint's image."""
        try:
            self._loader.load(chunk)
        except Newer as newer:
            raise WrittenByNewer("checkpoint", f"holds what cannot be read here ({newer})") from newer
        except ValueError as error:
            raise CorruptObject("checkpoint", f"the image cannot be read: {error}; {_WAY_OUT}") from error

    def load_seed(self, jobs: Sequence[bytes], completed_total: int) -> None:
        """Adopt the jobs that an earlier osqueue left in `queue.json`."""
        try:
            adopt(self.state, jobs, completed_total)
        except NotAdoptable as error:
            raise CorruptObject("queue.json", f"{error}: correct the field, or move the file away") from error

    def apply(self, sequence: int, records: bytes, format: int) -> None:
        """The records of one commit."""
        try:
            replay(self.state, records, format, self.understood)
        except Newer as newer:
            raise WrittenByNewer(f"commit {sequence}", f"holds what cannot be read here ({newer})") from newer
        except (Unreadable, BrokenRecord) as error:
            raise CorruptObject(f"commit {sequence}", f"the records cannot be read: {error}; {_WAY_OUT}") from error
