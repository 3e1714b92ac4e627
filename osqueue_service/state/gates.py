"""What shuts lines of waiting jobs, and why.

A gate gives its reason as data, so that whoever explains a job reads it and needs no rule
of its own. What is stored of a gate is stored by whoever shuts it: a paused type is in the
head of a checkpoint.
"""

from enum import Enum, auto
from typing import NamedTuple


class Reason(Enum):
    """Why a gate is shut: those of lines, and those behind which jobs are blocked."""

    PAUSED = auto()
    LIMIT = auto()
    UNIQUE_HELD = auto()
    SEQUENCE = auto()


class Gate(NamedTuple):
    """One reason for which lines give no jobs. `key` says what is shut: for PAUSED the type, for LIMIT nothing: limits
    change from job to job, and whoever wants to know asks them (`limit_table.py`). `until_ms` is when it
    opens by itself, in queue time; 0 where nobody knows."""

    reason: Reason
    key: str
    until_ms: int = 0


class Gates:
    """All gates that are shut. They know no lines: `Lines` asks here when a line appears, and again for the lines
    that a change here concerns."""

    def __init__(self) -> None:
        self._paused: dict[str, Gate] = {}

    def shutting(self, type_name: str) -> Gate | None:
        """The gate that shuts the lines of this type, if any does. With several it would be the first in an order of
        reasons: a line is shut by one at a time."""
        return self._paused.get(type_name)

    @property
    def paused(self) -> frozenset[str]:
        """The types that are paused, whether jobs of them wait or not."""
        return frozenset(self._paused)

    def pause(self, type_name: str) -> None:
        self._paused[type_name] = Gate(Reason.PAUSED, type_name)

    def resume(self, type_name: str) -> None:
        self._paused.pop(type_name, None)


LIMITED = Gate(Reason.LIMIT, "")
"""What shuts the lines whose first job has a limit without room for it."""
