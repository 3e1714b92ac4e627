"""What a recovery rebuilds the state with."""

from collections.abc import Sequence
from typing import Protocol


class Replayer(Protocol):
    """The other side of a recovery. Each call is short: renewals run between them.

    Content that cannot be understood is refused with `CorruptObject`, what a later release wrote with
    `WrittenByNewer`; the caller names the object it lay in. What is built must depend on nothing but
    the calls. A recovery may be given up at any point; the next one begins with `begin`.
    """

    def begin(self) -> None:
        """Forget everything: the state of a new, empty queue."""
        ...

    def load(self, chunk: bytes) -> None:
        """The next chunk of a checkpoint's image, as it was given to the writer of the checkpoint."""
        ...

    def load_seed(self, jobs: Sequence[bytes], completed_total: int) -> None:
        """Adopt a queue that the seed's own broker left: each job is the JSON text of one of its `jobs`."""
        ...

    def apply(self, sequence: int, records: bytes, format: int) -> None:
        """The records of the next segment, as they were given to `append`, and the format that its header names."""
        ...
