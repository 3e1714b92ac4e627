"""What the demo found out, for the summary."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from osqueue_cli.demo.verdict import Verdict
from osqueue_cli.load import Figures


@dataclass(frozen=True, slots=True)
class BrokerDeath:
    """What was acknowledged when the broker was killed, and what its successor knew of it."""

    pid: int
    submitted_acknowledged: int
    submitted_after: int
    completed_acknowledged: int
    completed_after: int
    away_ms: float
    """From the kill until the next call was answered."""
    restart_ms: float
    """From starting the process again until the next call was answered."""

    @property
    def sound(self) -> bool:
        """Everything acknowledged is there."""
        return (
            self.submitted_after >= self.submitted_acknowledged and self.completed_after >= self.completed_acknowledged
        )


class Stored(NamedTuple):
    """What lies in the queue's directory, and how many commits brought it there."""

    objects: int
    size: int
    commits: int

    @classmethod
    def in_directory(cls, directory: Path, commits: int) -> "Stored":
        sizes = [
            os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(directory) for name in names
        ]
        return cls(len(sizes), sum(sizes), commits)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went."""

    seconds: float
    """From the first submission to the last completion."""
    death: BrokerDeath
    verdict: Verdict
    tiles_missing: int
    letters: int
    letters_wanted: int
    stored: Stored
    flat_out: Figures
    """What the same broker does when nobody slows it down for watching."""

    @property
    def sound(self) -> bool:
        """Nothing acknowledged was lost, and every job ran to completion."""
        return (
            self.death.sound
            and self.verdict.sound
            and not self.tiles_missing
            and self.letters == self.letters_wanted
        )  # fmt: skip
