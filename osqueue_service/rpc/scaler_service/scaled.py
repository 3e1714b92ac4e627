"""What is to be scaled, as the metadata of its manifest says it."""

from collections.abc import Mapping
from math import isfinite
from typing import NamedTuple

from osqueue_service.limits import Limits
from osqueue_service.rpc.fields import TypeNames, Violations, shown
from osqueue_service.state.model import IN_PROGRESS
from osqueue_service.state.state import State

ALL_TYPES = "*"
QUEUE = "default"
"""The name of the one queue that there is."""


class Scaled(NamedTuple):
    """Workers that take these types (none: all), each for `target` jobs at a time."""

    types: tuple[str, ...]
    target: float

    def load(self, state: State) -> int:
        """Jobs of these types that run, or could if there were workers: those that are paused, or that a limit has no
        room for, need none."""
        if not self.types:
            return state.lines.ready + state.rosters[IN_PROGRESS].count
        running = (counts[IN_PROGRESS] for name in self.types if (counts := state.type_counts.get(name)))
        return sum(map(state.lines.count, self.types)) + sum(running)


def read(metadata: Mapping[str, str], types: TypeNames, limits: Limits) -> Scaled:
    """`InvalidRequest` names every key that is missing or wrong."""
    wrong = Violations()
    named = [name.strip() for name in metadata.get("types", "").split(",") if name.strip()]
    if not named:
        wrong.add("metadata.types", f"is required: the types of jobs, separated by commas, or {ALL_TYPES} for all")
    chosen = [] if named == [ALL_TYPES] else types.read_all(named, "metadata.types", limits.claim_types, wrong)
    if metadata.get("queue", QUEUE) != QUEUE:
        wrong.add("metadata.queue", f"{shown(metadata['queue'])} is not a queue of this broker: leave it out")
    target = _number(metadata.get("target", ""))
    if target is None:
        wrong.add("metadata.target", "is required: how many jobs one worker runs at a time, a number above 0")
    wrong.check()
    assert target is not None
    return Scaled(tuple(chosen), target)


def _number(text: str) -> float | None:
    """A finite number above 0, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) and number > 0 else None
