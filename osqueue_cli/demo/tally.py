"""What the demo has seen so far. The story writes it, a view shows it."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from osqueue_cli.demo.picture import Colour, Grid

EVENTS_SHOWN = 8
RATE_WINDOW_S = 1.0

Kind = Literal["info", "good", "bad"]
BrokerMood = Literal["starting", "serving", "killed"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth a line; `at_s` since the demo began."""

    at_s: float
    kind: Kind
    text: str


@dataclass(slots=True)
class Tally:
    """Numbers, the picture as far as it is painted, and the latest events."""

    jobs: int
    grid: Grid
    broker: BrokerMood = "starting"
    broker_pid: int = 0
    epoch: int = 0
    workers: int = 0
    submitted: int = 0
    """Acknowledged by the broker."""
    waiting: int = 0
    leased: int = 0
    completed: int = 0
    """By the broker's count."""
    executions: int = 0
    """By the workers' own count: every time a handler has run to its end."""
    tiles: dict[int, tuple[Colour, Colour]] = field(default_factory=dict)
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_SHOWN))
    started_s: float = field(default_factory=time.monotonic)
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started_s

    def counted(self, waiting: int, leased: int, completed: int) -> None:
        """The broker has answered how many jobs are where."""
        self.waiting, self.leased, self.completed = waiting, leased, max(self.completed, completed)
        now = self.elapsed_s
        self._samples.append((now, self.completed))
        while len(self._samples) > 2 and self._samples[1][0] < now - RATE_WINDOW_S:
            self._samples.popleft()

    @property
    def rate(self) -> float:
        """Jobs completed per second, lately."""
        if len(self._samples) < 2:
            return 0.0
        first_s, first = self._samples[0]
        return (self.completed - first) / max(self.elapsed_s - first_s, 0.001)
