"""Where a job that another one brought about comes from."""

from typing import Final

from msgspec import Struct


class Origin(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """The job that another one came from, by its number, and how: `FOLLOW_UP` or `ON_DEAD`.

    `attempt` is the attempt that ended then; what it died of goes with it, because that job may not be kept as long.
    """

    number: int
    how: str
    attempt: int = 0
    error_type: str = ""
    error_message: str = ""


FOLLOW_UP: Final = "follow_up"
ON_DEAD: Final = "on_dead"
BATCH_FIRST_DEAD: Final = "batch_first_dead"
BATCH_SUCCESS: Final = "batch_success"
BATCH_FINISHED: Final = "batch_finished"
